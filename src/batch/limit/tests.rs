mod simulation;

use super::*;

fn alone(millis: u64) -> Sample {
    Sample {
        took: Duration::from_millis(millis),
        was_alone: true,
        was_at_limit: false,
        has_failed: false,
    }
}

fn loaded(millis: u64) -> Sample {
    Sample {
        was_alone: false,
        was_at_limit: true,
        ..alone(millis)
    }
}

/// One whose undisturbed response took 10 ms.
fn far() -> Limit {
    let mut limit = Limit::new(None);
    limit.record(alone(10));
    limit
}

/// The limit after each window of responses of so many milliseconds.
fn after(limit: &mut Limit, windows: &[u64]) -> Vec<usize> {
    let window = |millis: &u64| {
        for _ in 0..WINDOW {
            limit.record(loaded(*millis));
        }
        limit.current()
    };
    windows.iter().map(window).collect()
}

#[test]
fn it_follows_how_responses_under_load_compare_with_undisturbed_ones() {
    let table: [(&[u64], &[usize]); 4] = [
        (&[10, 11, 12, 14, 10, 10, 10], &[3, 4, 5, 6, 7, 8, 8]),
        (&[16, 20, 40], &[2, 2, 2]),
        (&[10, 10, 20, 20, 20], &[3, 4, 3, 2, 2]),
        // A raise that was taken back is tried again later and later.
        (
            &[10, 20, 10, 20, 10, 10, 20, 10, 10, 10],
            &[3, 2, 3, 2, 2, 3, 2, 2, 2, 2],
        ),
    ];
    for (windows, expected) in table {
        assert_eq!(after(&mut far(), windows), expected, "{windows:?}");
    }
}

#[test]
fn a_fixed_number_stays() {
    let mut limit = Limit::new(Some(3));
    limit.record(alone(10));
    assert_eq!(after(&mut limit, &[10, 10, 100]), [3, 3, 3]);
}

#[test]
fn a_failure_takes_it_back() {
    let mut limit = far();
    assert_eq!(after(&mut limit, &[10, 10]), [3, 4]);
    limit.record(Sample {
        has_failed: true,
        ..loaded(1)
    });
    assert_eq!(limit.current(), MIN_LIMIT);
}

#[test]
fn without_an_undisturbed_response_or_below_the_limit_nothing_is_learnt() {
    assert_eq!(after(&mut Limit::new(None), &[10, 10]), [2, 2]);
    let mut limit = far();
    for _ in 0..10 * WINDOW {
        limit.record(Sample {
            was_at_limit: false,
            ..loaded(10)
        });
    }
    assert_eq!(limit.current(), MIN_LIMIT);
}

#[test]
fn a_slow_undisturbed_response_counts_little_and_a_quick_one_at_once() {
    let mut limit = far();
    limit.record(alone(100));
    // 15.6 ms now.
    assert_eq!(after(&mut limit, &[23, 24]), [3, 2]);
    limit.record(loaded(5));
    assert_eq!(after(&mut limit, &[9]), [2]);
}
