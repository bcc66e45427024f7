//! The promises of activity: touches, the idle end, renewed cookies, sweeps.

use crate::session::testing::*;
use crate::session::*;
use std::net::Ipv4Addr;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const MICRO: Duration = Duration::from_micros(1);
const PATIENT: Duration = Duration::from_secs(10);

async fn live(bench: &Bench, value: &str) -> Option<Arc<Entry>> {
    match bench.sessions.identify(&[value.as_bytes()], NO_GRACE).await {
        Identified::Live(live) => Some(live.entry),
        _ => None,
    }
}

async fn active(bench: &Bench, value: &str) {
    let entry = live(bench, value).await.expect("a live session");
    bench.sessions.touch(&entry, HOME);
}

fn bench_with(change: impl FnOnce(&mut Settings)) -> Bench {
    let mut settings = settings();
    change(&mut settings);
    Bench::with(Arc::new(FakeStore::new()), Clock::manual(START), settings)
}

fn row(bench: &Bench, digest: &Digest) -> crate::model::Session {
    bench.store.rows.lock().unwrap()[digest].clone()
}

fn touches(bench: &Bench) -> usize {
    bench.store.touched.lock().unwrap().len()
}

#[tokio::test]
async fn activity_moves_the_idle_end_at_once_and_the_row_with_the_next_writing() {
    let bench = Bench::new();
    let (value, digest) = bench.open("anna").await;
    bench.clock.advance(TOUCH);
    active(&bench, &value).await;
    let end = START.plus(TOUCH).plus(IDLE);
    assert_eq!(live(&bench, &value).await.unwrap().ends(), end);
    assert_eq!(row(&bench, &digest).expires_at, START.plus(IDLE));
    bench.sessions.flush(PATIENT).await;
    let row = row(&bench, &digest);
    assert_eq!((row.expires_at, row.last_seen_at), (end, START.plus(TOUCH)));
    assert_eq!(row.last_address, Some(HOME));
    assert!(
        bench
            .metrics
            .text()
            .contains(r#"portcullis_touches_total{result="written"} 1"#)
    );
}

#[tokio::test]
async fn a_session_is_touched_once_in_the_interval_however_often_it_is_active() {
    let bench = Bench::new();
    let (value, _) = bench.open("anna").await;
    for _ in 0..100 {
        active(&bench, &value).await;
    }
    bench.clock.advance(TOUCH.saturating_sub(MICRO));
    active(&bench, &value).await;
    bench.sessions.flush(PATIENT).await;
    assert_eq!(touches(&bench), 0, "the log-in itself was activity");
    for second in 0..600 {
        bench.clock.advance(Duration::from_secs(1));
        active(&bench, &value).await;
        if second % 7 == 0 {
            bench.sessions.flush(PATIENT).await;
        }
    }
    bench.sessions.flush(PATIENT).await;
    assert_eq!(touches(&bench), 10, "ten minutes, one touch each");
}

#[tokio::test]
async fn a_quarter_of_the_idle_time_is_the_interval_where_that_is_shorter() {
    let bench = bench_with(|settings| settings.idle_timeout = 2 * TOUCH);
    let (value, _) = bench.open("anna").await;
    bench.clock.advance((TOUCH / 2).saturating_sub(MICRO));
    active(&bench, &value).await;
    bench.sessions.flush(PATIENT).await;
    assert_eq!(touches(&bench), 0);
    bench.clock.advance(MICRO);
    active(&bench, &value).await;
    bench.sessions.flush(PATIENT).await;
    assert_eq!(touches(&bench), 1);
}

#[tokio::test]
async fn an_active_session_outlives_the_idle_time_but_never_its_absolute_end() {
    let bench = Bench::new();
    let (value, _) = bench.open("anna").await;
    let step = IDLE / 2;
    let steps = u32::try_from(LIFETIME.as_secs() / step.as_secs()).unwrap();
    for _ in 1..steps {
        bench.clock.advance(step);
        active(&bench, &value).await;
        bench.sessions.flush(PATIENT).await;
    }
    let entry = live(&bench, &value).await.unwrap();
    assert_eq!(entry.ends(), START.plus(LIFETIME));
    bench.clock.advance(step.saturating_sub(MICRO));
    active(&bench, &value).await;
    bench.clock.advance(MICRO);
    assert!(live(&bench, &value).await.is_none());
}

#[tokio::test]
async fn without_rolling_activity_is_recorded_and_moves_no_end() {
    let bench = bench_with(|settings| settings.rolling = false);
    let (value, digest) = bench.open("anna").await;
    bench.clock.advance(IDLE.saturating_sub(MICRO));
    active(&bench, &value).await;
    bench.sessions.flush(PATIENT).await;
    let row = row(&bench, &digest);
    assert_eq!(
        (row.expires_at, row.last_seen_at),
        (START.plus(IDLE), bench.sessions.now())
    );
    bench.clock.advance(MICRO);
    assert!(live(&bench, &value).await.is_none());
}

#[tokio::test]
async fn a_remembered_session_keeps_its_end_and_its_activity_is_recorded() {
    let bench = Bench::new();
    let mut login = bench.login("anna");
    login.remember = true;
    let opened = bench.sessions.open(login).await.unwrap();
    bench.clock.advance(TOUCH);
    bench.sessions.touch(&opened.entry, HOME);
    bench.sessions.flush(PATIENT).await;
    let row = row(&bench, &opened.entry.session.digest);
    assert_eq!((row.expires_at, row.last_seen_at), (row.ends_at, START.plus(TOUCH)));
}

#[tokio::test]
async fn activity_at_the_end_or_after_it_moves_nothing() {
    let bench = Bench::new();
    let (value, _) = bench.open("anna").await;
    let entry = live(&bench, &value).await.unwrap();
    bench.clock.advance(IDLE);
    bench.sessions.touch(&entry, HOME);
    assert_eq!(entry.ends(), START.plus(IDLE));
    bench.sessions.flush(PATIENT).await;
    assert_eq!(touches(&bench), 0);
    assert!(live(&bench, &value).await.is_none());
}

#[tokio::test]
async fn an_instance_whose_copy_looks_idle_picks_up_the_activity_of_another() {
    let one = Bench::new();
    let two = Bench::over(Arc::clone(&one.store), one.clock.clone());
    one.sessions.cache.set_bound(LIFETIME);
    let (value, _) = one.open("anna").await;
    assert!(live(&two, &value).await.is_some());
    one.clock.advance(IDLE / 2);
    active(&two, &value).await;
    two.sessions.flush(PATIENT).await;
    one.clock.advance(IDLE / 2);
    let asked = one.store.asked();
    let entry = live(&one, &value).await.expect("the other instance saw activity");
    assert_eq!(entry.ends(), START.plus(IDLE / 2).plus(IDLE));
    assert_eq!(one.store.asked(), asked + 1);
    one.clock.advance((IDLE / 2).saturating_sub(MICRO));
    assert!(live(&one, &value).await.is_some());
    one.clock.advance(MICRO);
    assert!(live(&one, &value).await.is_none());
    assert!(live(&two, &value).await.is_none());
}

#[tokio::test]
async fn a_touch_that_waits_counts_as_activity_when_the_session_is_loaded_again() {
    let bench = Bench::new();
    let (value, digest) = bench.open("anna").await;
    bench.clock.advance(IDLE.saturating_sub(MICRO));
    active(&bench, &value).await;
    bench.clock.advance(IDLE / 2);
    bench.sessions.forget_all();
    assert!(
        row(&bench, &digest).is_over(bench.sessions.now()),
        "the row knows of nothing"
    );
    let entry = live(&bench, &value).await.expect("but this instance does");
    assert_eq!(entry.ends(), START.plus(2 * IDLE).minus(MICRO));
    bench.sessions.flush(PATIENT).await;
    assert_eq!(row(&bench, &digest).expires_at, START.plus(2 * IDLE).minus(MICRO));
}

#[tokio::test]
async fn a_touch_that_waits_does_not_speak_for_an_end_that_was_brought_forward() {
    let bench = Bench::new();
    let (value, digest) = bench.open("anna").await;
    bench.clock.advance(TOUCH);
    active(&bench, &value).await;
    let cut = bench.sessions.now().plus(Duration::from_secs(1));
    bench.store.rows.lock().unwrap().get_mut(&digest).unwrap().expires_at = cut;
    bench.sessions.forget_all();
    assert_eq!(live(&bench, &value).await.unwrap().ends(), cut);
    bench.sessions.flush(PATIENT).await;
    assert_eq!(row(&bench, &digest).expires_at, cut);
}

#[tokio::test]
async fn an_ended_session_is_not_brought_back_by_a_touch_that_waited() {
    let bench = Bench::new();
    let (value, digest) = bench.open("anna").await;
    bench.clock.advance(TOUCH);
    active(&bench, &value).await;
    bench.sessions.end(Which::Digest(digest), logout()).await.unwrap();
    assert!(live(&bench, &value).await.is_none());
    bench.sessions.flush(PATIENT).await;
    assert!(bench.store.rows.lock().unwrap().is_empty());
    assert!(live(&bench, &value).await.is_none());
    assert!(
        bench
            .metrics
            .text()
            .contains(r#"portcullis_touches_total{result="ended"} 1"#)
    );
}

#[tokio::test]
async fn a_touch_of_a_session_that_is_gone_makes_the_copy_unbelieved_at_once() {
    let bench = Bench::new();
    bench.sessions.cache.set_bound(LIFETIME);
    let (value, digest) = bench.open("anna").await;
    bench.store.delete(&digest);
    bench.clock.advance(TOUCH);
    active(&bench, &value).await;
    assert!(live(&bench, &value).await.is_some(), "the bound is long");
    bench.sessions.flush(PATIENT).await;
    assert!(live(&bench, &value).await.is_none());
}

#[tokio::test]
async fn touches_wait_while_the_store_is_down_and_each_session_only_once() {
    let bench = Bench::new();
    let (value, digest) = bench.open("anna").await;
    let entry = live(&bench, &value).await.unwrap();
    bench.store.is_down(true);
    for _ in 0..5 {
        bench.clock.advance(TOUCH);
        bench.sessions.touch(&entry, HOME);
        assert!(bench.sessions.cache.write_touches().await.is_err());
    }
    bench.store.is_down(false);
    bench.sessions.flush(PATIENT).await;
    assert_eq!(touches(&bench), 1);
    assert_eq!(row(&bench, &digest).last_seen_at, START.plus(5 * TOUCH));
}

#[tokio::test]
async fn no_more_touches_wait_than_there_is_room_for_and_the_rest_are_counted() {
    let bench = Bench::new();
    let touch = |number: u32| {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        crate::store::Touch {
            digest: Digest(digest),
            seen_at: START,
            expires_at: START.plus(IDLE),
            known_end: START,
            address: None,
        }
    };
    // The room is that of the cache: 1,000 sessions.
    for number in 0..1_500 {
        bench.sessions.cache.touches.add(touch(number % 1_200));
    }
    assert!(
        bench
            .metrics
            .text()
            .contains(r#"portcullis_touches_total{result="lost"} 200"#)
    );
    bench.sessions.flush(PATIENT).await;
    assert_eq!(touches(&bench), 1_000);
}

#[tokio::test]
async fn a_flush_ends_in_time_and_counts_what_it_could_not_write() {
    let bench = Bench::new();
    let (value, _) = bench.open("anna").await;
    bench.clock.advance(TOUCH);
    active(&bench, &value).await;
    bench.store.is_down(true);
    bench.sessions.flush(Duration::from_millis(50)).await;
    assert!(
        bench
            .metrics
            .text()
            .contains(r#"portcullis_touches_total{result="lost"} 1"#)
    );
}

#[tokio::test]
async fn of_many_cores_that_see_a_touch_due_one_makes_it() {
    let bench = Bench::new();
    let (value, _) = bench.open("anna").await;
    let entry = live(&bench, &value).await.unwrap();
    for _ in 0..50 {
        bench.clock.advance(TOUCH);
        std::thread::scope(|scope| {
            for last in 0..8 {
                let (sessions, entry) = (&bench.sessions, &entry);
                scope.spawn(move || sessions.touch(entry, Ipv4Addr::new(192, 0, 2, last).into()));
            }
        });
        assert!(bench.sessions.cache.write_touches().await.is_ok());
    }
    assert_eq!(touches(&bench), 50);
}

mod cookies {
    use super::*;

    fn renewed(bench: &Bench, entry: &Arc<Entry>, value: &str) -> Option<String> {
        let values = std::iter::once(value.as_bytes());
        let renewal = bench.sessions.renewal(entry, values)?;
        bench.sessions.renew(&renewal, "crm.example.com", true)
    }

    fn max_age(line: &str) -> u64 {
        let part = line.split("; ").find_map(|part| part.strip_prefix("Max-Age="));
        part.unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn a_cookie_is_renewed_once_a_touch_with_the_same_token_until_the_idle_end() {
        let bench = Bench::new();
        let (value, _) = bench.open("anna").await;
        let entry = live(&bench, &value).await.unwrap();
        assert_eq!(bench.sessions.cookie_life(&entry), IDLE);
        assert!(renewed(&bench, &entry, &value).is_none(), "its browser has just got it");
        for _ in 0..3 {
            bench.clock.advance(TOUCH);
            active(&bench, &value).await;
            let entry = live(&bench, &value).await.unwrap();
            let line = renewed(&bench, &entry, &value).expect("a cookie is owed");
            assert!(line.starts_with(&format!("__Host-portcullis={value}; ")), "{line}");
            assert_eq!(max_age(&line), IDLE.as_secs());
            for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
                assert!(line.contains(attribute), "{line}");
            }
            assert!(renewed(&bench, &entry, &value).is_none(), "once");
        }
    }

    #[tokio::test]
    async fn a_cookie_stays_owed_until_an_answer_carries_it_whatever_is_loaded_again_meanwhile() {
        let bench = Bench::new();
        let (value, _) = bench.open("anna").await;
        bench.clock.advance(TOUCH);
        active(&bench, &value).await;
        for _ in 0..3 {
            bench.clock.advance(SHORT);
            assert!(live(&bench, &value).await.is_some());
        }
        let entry = live(&bench, &value).await.unwrap();
        assert!(renewed(&bench, &entry, &value).is_some());
    }

    #[tokio::test]
    async fn only_the_token_of_the_session_itself_is_renewed() {
        let bench = Bench::new();
        let (value, _) = bench.open("anna").await;
        let (other, _) = bench.open("bert").await;
        bench.clock.advance(TOUCH);
        active(&bench, &value).await;
        let entry = live(&bench, &value).await.unwrap();
        assert!(renewed(&bench, &entry, &other).is_none());
        assert!(renewed(&bench, &entry, "forged").is_none());
        let values = [b"forged".as_slice(), other.as_bytes(), value.as_bytes()];
        let renewal = bench.sessions.renewal(&entry, values.into_iter()).expect("one is hers");
        let line = bench.sessions.renew(&renewal, "crm.example.com", true).unwrap();
        assert!(line.contains(&value) && !format!("{renewal:?}").contains(&value));
    }

    #[tokio::test]
    async fn an_answer_that_was_long_on_its_way_renews_no_session_that_ended_or_may_have() {
        let bench = Bench::new();
        for ends in [true, false] {
            let (value, digest) = bench.open("anna").await;
            bench.clock.advance(TOUCH);
            active(&bench, &value).await;
            let entry = live(&bench, &value).await.unwrap();
            let renewal = bench
                .sessions
                .renewal(&entry, std::iter::once(value.as_bytes()))
                .unwrap();
            if ends {
                bench.sessions.end(Which::Digest(digest), logout()).await.unwrap();
            } else {
                bench.clock.advance(MAX_AGE);
            }
            assert!(bench.sessions.renew(&renewal, "crm.example.com", true).is_none());
        }
    }

    #[tokio::test]
    async fn a_cookie_whose_end_does_not_move_is_renewed_only_under_a_new_secret() {
        let fixed = |settings: &mut Settings| settings.rolling = false;
        let bench = bench_with(fixed);
        let (value, _) = bench.open("anna").await;
        bench.clock.advance(TOUCH);
        active(&bench, &value).await;
        let entry = live(&bench, &value).await.unwrap();
        assert!(renewed(&bench, &entry, &value).is_none());
        let mut rotated = settings();
        fixed(&mut rotated);
        rotated.secrets = vec![SecretSlice::from(vec![2; 32]), SecretSlice::from(vec![1; 32])];
        let after = Bench::with(Arc::clone(&bench.store), bench.clock.clone(), rotated);
        bench.clock.advance(TOUCH);
        *bench.store.clock.lock().unwrap() = bench.clock.now();
        active(&after, &value).await;
        let entry = live(&after, &value).await.unwrap();
        let line = renewed(&after, &entry, &value).expect("the old secret goes away");
        assert!(!line.contains(&value));
        assert_eq!(max_age(&line), IDLE.as_secs() - 2 * TOUCH.as_secs());
        let fresh = line["__Host-portcullis=".len()..].split(';').next().unwrap().to_owned();
        let entry = live(&after, &fresh).await.expect("the same session");
        assert_eq!(entry.user.username.as_str(), "anna");
    }
}

mod sweeps {
    use super::*;

    #[tokio::test]
    async fn a_sweep_removes_what_is_over_tells_how_far_it_is_and_is_remembered() {
        let bench = Bench::new();
        for name in ["anna", "bert"] {
            drop(bench.open(name).await);
        }
        bench.clock.advance(IDLE);
        let (value, _) = bench.open("cleo").await;
        *bench.store.clock.lock().unwrap() = bench.sessions.now();
        let mut told = Vec::new();
        let swept = bench.sessions.sweep(|count| told.push(count)).await.unwrap();
        assert!(matches!(swept, Swept::Removed(2, _)), "{swept:?}");
        assert_eq!(told, [2]);
        assert!(live(&bench, &value).await.is_some());
        let sweeps = bench.store.sweeps.lock().unwrap().clone();
        assert_eq!((sweeps.len(), sweeps[0].removed, sweeps[0].by_hand), (1, 2, true));
        assert!(bench.metrics.text().contains("portcullis_swept_sessions_total 2"));
    }

    #[tokio::test]
    async fn a_sweep_that_cannot_ask_is_an_error() {
        let bench = Bench::new();
        bench.store.is_down(true);
        assert!(matches!(
            bench.sessions.sweep(|_| {}).await,
            Err(SessionError::Store(_))
        ));
    }

    #[tokio::test]
    async fn sweeps_come_by_themselves_until_they_are_stopped() {
        let bench = bench_with(|settings| settings.sweep.interval = Duration::from_millis(1));
        let stop = tokio_util::sync::CancellationToken::new();
        let sweeping = {
            let (sessions, stop) = (Arc::clone(&bench.sessions), stop.clone());
            tokio::spawn(async move { sessions.sweep_regularly(stop).await })
        };
        let several = async {
            while bench.store.sweeps.lock().unwrap().len() < 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENT, several).await.unwrap();
        stop.cancel();
        tokio::time::timeout(PATIENT, sweeping).await.unwrap().unwrap();
        assert!(bench.store.sweeps.lock().unwrap().iter().all(|sweep| !sweep.by_hand));
    }
}
