//! Batch logs through the planner and apply, against backfill by requests; the logs are in the folder that `HESUAN_SWF` names.

use std::path::PathBuf;

use hesuan_engine::schedule::time::Policy;
use hesuan_tests::replay::figures::Figures;
use hesuan_tests::replay::swf;

#[test]
#[ignore = "minutes, and needs the folder of the logs in HESUAN_SWF"]
fn ours_waits_less_than_the_shortest_request_first_and_no_job_longer_than_under_easy() {
    let folder = PathBuf::from(std::env::var("HESUAN_SWF").expect("HESUAN_SWF names the folder"));
    for (log, procs) in [
        ("KTH-SP2-1996-2", 100),
        ("LLNL-Thunder-2007-1.1-cln", 4008),
        ("SDSC-BLUE-2000-4.2-cln", 1152),
    ] {
        let records = swf::read(&folder.join(format!("{log}.swf.gz")), procs).expect("it is well-formed");
        let by = |policy: Policy| Figures::of(swf::replay(&swf::jobs(&records, &policy), procs, policy), procs, 0.0);
        let jobs = swf::jobs(&records, &Policy::OURS);
        let (done, _) = swf::replay_in_region(&jobs, procs).expect("the engine takes all");
        let (ours, shortest, easy) = (
            Figures::of(done, procs, 0.0),
            by(Policy::EASY_SHORTEST),
            by(Policy::EASY),
        );
        println!("{log}: ours {ours:?}, shortest {shortest:?}, easy {easy:?}");
        assert!(ours.bsld_mean < shortest.bsld_mean, "{log}");
        assert!(ours.wait_mean_s < shortest.wait_mean_s, "{log}");
        if log.starts_with("KTH") {
            assert!(ours.wait_max_s <= easy.wait_max_s, "{log}");
        }
    }
}
