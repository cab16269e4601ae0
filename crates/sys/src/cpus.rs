//! How many processors we may use: the affinity mask, cut by the CPU quota of our cgroups.

use std::path::{Path, PathBuf};

/// The number of workers that can run at once, at least 1: processors in the affinity mask, but not more than the
/// cgroup's quota, rounded up (1.5 CPUs allow 2 workers, each 75 % of the time).
#[must_use]
pub fn available() -> usize {
    let allowed = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
    let allowed = usize::try_from(allowed).unwrap_or(1);
    limited(allowed, quota())
}

fn limited(allowed: usize, quota: Option<f64>) -> usize {
    // A quota is a small positive number; the cast saturates for anything else.
    let by_quota = quota.map_or(usize::MAX, |cpus| cpus.ceil() as usize);
    allowed.min(by_quota).max(1)
}

/// The tightest CPU quota on the way from our cgroup to the root, in CPUs.
fn quota() -> Option<f64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let places = directories(&groups, &mounts);
    let of = |place: &Place| {
        let read = |name: &str| std::fs::read_to_string(place.directory.join(name)).ok();
        match place.version {
            Version::Two => quota_v2(&read("cpu.max")?),
            Version::One => quota_v1(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?),
        }
    };
    places.iter().filter_map(of).min_by(f64::total_cmp)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A directory whose quota applies to us.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    version: Version,
    directory: PathBuf,
}

/// `cpu.max` of cgroup v2: `max 100000` or `150000 100000` (cgroup-v2.rst).
fn quota_v2(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    ratio(quota.parse().ok()?, period.trim().parse().ok()?)
}

/// `cpu.cfs_quota_us` (-1: none) and `cpu.cfs_period_us` of cgroup v1.
fn quota_v1(quota: &str, period: &str) -> Option<f64> {
    ratio(quota.trim().parse().ok()?, period.trim().parse().ok()?)
}

fn ratio(quota: f64, period: f64) -> Option<f64> {
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// The directories of our cgroups with a CPU controller, from the texts of `/proc/self/cgroup` and
/// `/proc/self/mountinfo`: each one and all its parents up to the mount.
fn directories(groups: &str, mounts: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let version = if controllers.is_empty() {
            Version::Two
        } else if controllers.split(',').any(|name| name == "cpu") {
            Version::One
        } else {
            continue;
        };
        let Some((root, mount)) = mounts.lines().find_map(|line| mount_of(line, version)) else { continue };
        // In a container the mount shows only the part of the hierarchy below `root`.
        let below = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
        let below: PathBuf =
            below.components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect();
        for ancestor in below.ancestors() {
            places.push(Place { version, directory: mount.join(ancestor) });
        }
    }
    places
}

/// If this line of mountinfo (proc_pid_mountinfo(5)) mounts the wanted hierarchy: (its root, where it is).
fn mount_of(line: &str, version: Version) -> Option<(PathBuf, PathBuf)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, mount) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let (file_system, options) = (kind.next()?, kind.nth(1)?);
    let fits = match version {
        Version::Two => file_system == "cgroup2",
        Version::One => file_system == "cgroup" && options.split(',').any(|option| option == "cpu"),
    };
    fits.then(|| (PathBuf::from(root), PathBuf::from(mount)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quota_limits_the_processors_and_at_least_one_is_left() {
        assert_eq!(limited(8, None), 8);
        assert_eq!(limited(8, Some(1.5)), 2);
        assert_eq!(limited(8, Some(0.1)), 1);
        assert_eq!(limited(2, Some(64.0)), 2);
        assert_eq!(limited(0, None), 1);
    }

    #[test]
    fn both_versions_of_quota_files_are_understood() {
        assert_eq!(quota_v2("150000 100000\n"), Some(1.5));
        assert_eq!(quota_v2("max 100000\n"), None);
        assert_eq!(quota_v1("50000\n", "100000\n"), Some(0.5));
        assert_eq!(quota_v1("-1\n", "100000\n"), None);
        assert_eq!(quota_v2("1 0"), None);
        assert_eq!(quota_v2(""), None);
    }

    #[test]
    fn version_two_looks_at_the_whole_way_to_the_root() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = directories("0::/system.slice/x.service\n", mounts);
        let paths: Vec<_> = found.iter().map(|place| place.directory.to_str().expect("utf-8")).collect();
        assert_eq!(
            paths,
            ["/sys/fs/cgroup/system.slice/x.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/"]
        );
    }

    #[test]
    fn version_one_in_a_container_maps_its_root_to_the_mount() {
        let mounts = "40 30 0:30 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                      41 30 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let found = directories("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n", mounts);
        assert_eq!(found, [Place { version: Version::One, directory: "/sys/fs/cgroup/cpu,cpuacct/".into() }]);
    }

    #[test]
    fn this_machine_has_a_processor_for_us() {
        let count = available();
        assert!(
            count >= 1
                && count <= std::thread::available_parallelism().map_or(usize::MAX, usize::from).max(1)
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(groups in ".{0,200}", mounts in ".{0,200}", quota in ".{0,20}") {
            let _ = directories(&groups, &mounts);
            let _ = (quota_v2(&quota), quota_v1(&quota, &quota));
        }
    }
}
