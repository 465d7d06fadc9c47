package ort

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

const (
	lockFileFailImmediately = 1
	lockFileExclusive       = 2
	errorLockViolation      = syscall.Errno(33)
)

// tryLock takes the file's lock if nobody holds it.
func tryLock(f *os.File) (bool, error) {
	var overlapped syscall.Overlapped
	ok, _, err := syscall.NewLazyDLL("kernel32.dll").NewProc("LockFileEx").Call(
		f.Fd(), lockFileFailImmediately|lockFileExclusive, 0, 1, 0, uintptr(unsafe.Pointer(&overlapped)))
	if ok != 0 {
		return true, nil
	}
	if errors.Is(err, errorLockViolation) || errors.Is(err, syscall.ERROR_IO_PENDING) {
		return false, nil
	}
	return false, err
}
