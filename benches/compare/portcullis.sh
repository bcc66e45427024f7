# Portcullis as a peer of the benchmark: native sessions in SQLite, every feature on, the access log as ACCESS says
# (false as nginx's is, true beside nginx-log). Run with `bash` by the harness, which sets W, HTTP, HTTPS, UP, CERT, KEY, DIR.
set -e
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=${PORTCULLIS:-$here/../../target/release/portcullis}
secret=$(head -c 48 /dev/urandom | base64 -w 0)
cat > "$DIR/portcullis.toml" <<C
workers = $W
data_dir = "$DIR/data"
[store]
url = "sqlite://$DIR/data/portcullis.db"
[session]
secrets = ["$secret"]
[log]
access = ${ACCESS:-false}
access_file = "$DIR/access.log"
[limits]
connections = 19000
idle = "10m"
[[listener]]
address = "127.0.0.1:$HTTPS"
certificates = [{ chain = "$CERT", key = "$KEY" }]
[[listener]]
address = "127.0.0.1:$HTTP"
[admin]
address = "127.0.0.1:0"
[[upstream]]
name = "app"
servers = ["http://$UP"]
timeouts = { connect = "2s", response = "60s", idle = "60s" }
[[route]]
name = "app"
upstream = "app"
identity = { preset = "oauth2-proxy", headers = { "X-User" = "{username}", "X-Email" = "{email}" } }
C
"$program" migrate --config "$DIR/portcullis.toml"
python3 "$here/sessions.py" "$DIR/data/portcullis.db" "$secret" "$DIR/cookies.txt"
exec "$program" run --config "$DIR/portcullis.toml"
