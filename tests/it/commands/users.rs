//! `user`: who may sign in.

use super::{Folder, SMALL};

#[test]
fn a_user_is_added_shown_changed_and_deleted() {
    let folder = Folder::with(SMALL);
    let args = [
        "user",
        "add",
        "ada",
        "--email",
        "Ada@Example.com",
        "--display-name",
        "Ada Lovelace",
        "--group",
        "staff",
    ];
    let mut args = args.to_vec();
    args.extend(["--group", "math", "--password-stdin", "--json"]);
    let added = folder.run(&args, "correct horse battery\n").ok().json();
    assert_eq!(added["username"], "ada");
    assert_eq!(added["email"], "ada@example.com");
    assert_eq!(added["groups"], serde_json::json!(["math", "staff"]));
    assert_eq!(added["state"], "active");

    let shown = folder.run(&["user", "show", "ada", "--json"], "").ok().json();
    assert_eq!(shown, added);
    let listed = folder.run(&["user", "list", "--json"], "").ok().json();
    assert_eq!(listed["items"], serde_json::json!([added]));
    assert_eq!(listed["next"], serde_json::Value::Null);

    let group = |args: &[&str]| folder.run(args, "").ok().json()["groups"].clone();
    let groups = group(&["user", "group", "add", "ada", "admins", "staff", "--json"]);
    assert_eq!(groups, serde_json::json!(["admins", "math", "staff"]));
    let groups = group(&["user", "group", "remove", "ada", "math", "nobody", "--json"]);
    assert_eq!(groups, serde_json::json!(["admins", "staff"]));

    folder.run(&["user", "disable", "ada"], "").ok();
    assert_eq!(
        folder.run(&["user", "show", "ada", "--json"], "").ok().json()["state"],
        "disabled"
    );
    folder.run(&["user", "enable", "ada"], "").ok();
    assert_eq!(
        folder.run(&["user", "show", "ada", "--json"], "").ok().json()["state"],
        "active"
    );
    let changed = folder
        .run(
            &["user", "password", "ada", "--password-stdin", "--json"],
            "another long secret",
        )
        .ok();
    assert_eq!(
        changed.json(),
        serde_json::json!({ "user": "ada", "sessions_ended": 0 })
    );

    folder.run(&["user", "delete", "ada"], "").ok();
    folder
        .run(&["user", "show", "ada"], "")
        .fails(1, &["there is no user ada"]);
    let again = folder.run(&["user", "add", "ada", "--password-stdin"], "correct horse battery");
    again.fails(1, &["already taken"]);
}

#[test]
fn tables_are_for_people_and_tell_when_a_change_counts() {
    let folder = Folder::with(SMALL);
    assert_eq!(folder.run(&["user", "list"], "").ok().out, "No users.\n");
    let said = folder
        .run(&["user", "add", "ada", "--password-stdin"], "correct horse battery")
        .ok();
    assert_eq!(said.out, "ada was added and may sign in.\n");
    let table = folder.run(&["user", "list"], "").ok().out;
    assert!(
        table.contains("user") && table.contains("ada") && table.contains("active"),
        "{table}"
    );
    let said = folder.run(&["user", "disable", "ada"], "").ok();
    assert_eq!(
        said.out,
        "ada may no longer sign in; 0 sessions ended. A running gateway acts on it at once.\n"
    );
}

#[test]
fn a_list_goes_on_where_it_stopped() {
    let folder = Folder::with(SMALL);
    for name in ["ada", "bob", "cyd"] {
        folder
            .run(&["user", "add", name, "--password-stdin"], "correct horse battery")
            .ok();
    }
    let first = folder.run(&["user", "list", "--limit", "2", "--json"], "").ok().json();
    assert_eq!(first["next"], "bob");
    let second = folder
        .run(&["user", "list", "--limit", "2", "--after", "bob", "--json"], "")
        .ok()
        .json();
    assert_eq!(
        (&second["items"][0]["username"], &second["next"]),
        (&"cyd".into(), &serde_json::Value::Null)
    );
    let found = folder.run(&["user", "list", "--search", "o", "--json"], "").ok().json();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_password_comes_from_a_prompt_or_standard_input_only() {
    let folder = Folder::with(SMALL);
    folder
        .run(&["user", "add", "ada"], "correct horse battery")
        .fails(2, &["--password-stdin"]);
    folder
        .run(&["user", "add", "ada", "--password", "x"], "")
        .fails(2, &["unexpected argument"]);
    folder
        .run(&["user", "add", "ada", "--password-stdin"], "")
        .fails(2, &["no password"]);
    folder
        .run(&["user", "show", "ada"], "")
        .fails(1, &["there is no user ada"]);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let folder = Folder::with(SMALL);
    let secret = "correct horse battery";
    folder
        .run(&["user", "add", "Ada", "--password-stdin"], secret)
        .fails(2, &["a-z, 0-9"]);
    folder
        .run(&["user", "add", "", "--password-stdin"], secret)
        .fails(2, &["1 to 64"]);
    folder
        .run(&["user", "add", "ada", "--group", "a,b", "--password-stdin"], secret)
        .fails(2, &["a,b"]);
    let said = folder.run(&["user", "add", "ada", "--email", "nobody", "--password-stdin"], secret);
    assert!(said.code != 0 && said.err.contains("e-mail"), "{said:?}");
    let said = folder.run(&["user", "add", "ada", "--password-stdin"], "short");
    assert!(
        said.code != 0 && said.err.contains("password") && !said.err.contains("short\""),
        "{said:?}"
    );
    assert_eq!(folder.run(&["user", "list"], "").ok().out, "No users.\n");
    folder.run(&["user", "add", "ada", "--password-stdin"], secret).ok();
    folder
        .run(&["user", "add", "ada", "--password-stdin"], secret)
        .fails(1, &["already taken"]);
    for command in [
        &["user", "disable", "bob"][..],
        &["user", "enable", "bob"],
        &["user", "delete", "bob"],
    ] {
        folder.run(command, "").fails(1, &["there is no user bob"]);
    }
}

#[test]
fn no_output_shows_a_password_or_its_hash() {
    let folder = Folder::with(SMALL);
    let secret = "correct horse battery";
    let mut said = String::new();
    for args in [
        &["user", "add", "ada", "--password-stdin", "--json"][..],
        &["user", "password", "ada", "--password-stdin"],
        &["user", "show", "ada", "--json"],
        &["user", "show", "ada"],
        &["user", "list", "--json"],
    ] {
        let one = folder.run(args, secret).ok();
        said.push_str(&one.out);
        said.push_str(&one.err);
    }
    assert!(said.contains("ada"));
    for word in [secret, "argon2", "$"] {
        assert!(!said.contains(word), "{word}: {said}");
    }
}

#[test]
fn a_data_folder_must_have_been_made_by_a_run() {
    let folder = Folder::with(SMALL);
    folder
        .run_bare(&["user", "list", "--data-dir", "nowhere"], "")
        .fails(1, &["no database in nowhere"]);
    assert!(!folder.file("nowhere").exists(), "a look must not make anything");
}

#[test]
fn who_a_user_is_in_an_application_is_said_as_the_application_has_it() {
    let folder = Folder::with(SMALL);
    folder
        .run(&["user", "add", "ada", "--password-stdin"], "correct horse battery\n")
        .ok();
    let said = |value: &str| {
        let answer = folder
            .run(&["user", "app-user", "ada", "crm", value, "--json"], "")
            .ok()
            .json();
        answer["app_users"]["crm"].clone()
    };
    assert_eq!(said("42"), serde_json::json!(42));
    assert_eq!(said("\"42\""), serde_json::json!("42"));
    assert_eq!(said("ada@crm"), serde_json::json!("ada@crm"));
    assert_eq!(said("{\"id\":42}"), serde_json::json!({ "id": 42 }));
    let shown = folder.run(&["user", "show", "ada"], "").ok().out;
    assert!(shown.contains("crm: {\"id\":42}"), "{shown}");
    let told = folder.run(&["user", "app-user", "ada", "crm", "7"], "").ok().out;
    assert!(told.contains("ada is 7 in crm"), "{told}");
    let gone = folder
        .run(&["user", "app-user", "ada", "crm", "--unset", "--json"], "")
        .ok()
        .json();
    assert_eq!(gone["app_users"], serde_json::json!({}));
    for wrong in [
        &["user", "app-user", "ada", "crm"][..],
        &["user", "app-user", "ada", "crm", "7", "--unset"],
        &["user", "app-user", "ada", "Crm", "7"],
        &["user", "app-user", "ada", "crm", "true"],
    ] {
        folder.run(wrong, "").fails(2, &[]);
    }
}
