package main

import (
	"fmt"
	"time"
)

// atLeast is a usageError unless a flag's value is at least so much.
func atLeast[T int | byteSize | time.Duration](flag string, value, least T) error {
	if value < least {
		return &usageError{flag, fmt.Errorf("%v is too little, want at least %v", value, least)}
	}
	return nil
}
