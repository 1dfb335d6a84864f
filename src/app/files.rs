//! How many files the process may have open; each connection is one.

/// Files besides the connections of the API: handshakes, the admin port, the database, the upstream
/// and what a process has anyway.
const OTHERS: u64 = 2_048;

/// Raises the limit of open files as far as that is allowed, and says so if it is too low for so many
/// connections.
pub(super) fn allow(connections: u32, database: u32) {
    let needed = u64::from(connections) + u64::from(database) + OTHERS;
    let allowed = raise(needed);
    if allowed < needed {
        tracing::warn!(
            allowed,
            needed,
            "fewer files may be open than --max-connections asks for; raise the limit (ulimit -n, \
             LimitNOFILE) or lower --max-connections"
        );
    }
}

/// Raises the soft limit to what is needed, at most to the hard one, and returns it.
fn raise(needed: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is ours and outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return needed;
    }
    if limit.rlim_cur < needed {
        let soft = limit.rlim_cur;
        limit.rlim_cur = needed.min(limit.rlim_max);
        // SAFETY: `limit` is ours and outlives the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return soft;
        }
    }
    limit.rlim_cur
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_no_further_than_asked_for_and_never_lowered() {
        let before = raise(0);
        let one_more = raise(before + 1);
        assert!(one_more == before || one_more == before + 1);
        assert_eq!(raise(0), one_more);
    }
}
