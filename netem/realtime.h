#pragma once

#include <sched.h>
#include <sys/prctl.h>

namespace penstock::netem {

/// Ahead of what is measured, behind whatever the machine's owner put at a higher priority; the link goes before who
/// measures it.
enum class RealtimePriority : int { probe = 1, link = 2 };

/// Round robin (sched(7)) for the calling thread, if it may; false and errno if not. Needs CAP_SYS_NICE in the first
/// user namespace, or RLIMIT_RTPRIO.
inline bool become_realtime(RealtimePriority priority) {
  sched_param parameter{};
  parameter.sched_priority = static_cast<int>(priority);
  return sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &parameter) == 0;
}

/// Sleeps end when they should, not up to 50 us later; real-time threads have this anyway.
inline void sleep_exactly() { prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); }

}  // namespace penstock::netem
