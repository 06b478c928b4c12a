package scenario

import "golang.org/x/sys/unix"

// allowDescriptors raises the limit of this process to need descriptors, or as far as
// it may, and returns the limit.
func allowDescriptors(need int) (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	if int(limit.Cur) >= need {
		return int(limit.Cur), nil
	}
	for _, ceiling := range []uint64{max(limit.Max, uint64(need)), limit.Max} { // the first takes privilege
		raised := unix.Rlimit{Cur: min(uint64(need), ceiling), Max: ceiling}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			return int(raised.Cur), nil
		}
	}
	return int(limit.Cur), nil
}
