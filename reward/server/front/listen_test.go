package front

import (
	"errors"
	"testing"
)

func TestOnlyLoopbackIsListenedToUnlessToldOtherwise(t *testing.T) {
	for _, tt := range []struct {
		address string
		public  bool
		ok      bool
	}{
		{"127.0.0.1:0", false, true},
		{"localhost:0", false, true},
		{":0", false, false},
		{"0.0.0.0:0", false, false},
		{"[::]:0", false, false},
		{"192.0.2.1:0", false, false},
		{":0", true, true},
	} {
		t.Run(tt.address, func(t *testing.T) {
			l, err := Listen(t.Context(), tt.address, tt.public, 1, 1)
			if l != nil {
				defer l.Close()
			}
			if (err == nil) != tt.ok || (!tt.ok && !errors.Is(err, ErrNotLoopback)) {
				t.Errorf("error %v, want success %v", err, tt.ok)
			}
		})
	}
}

func TestListenRefusesWhatMakesNoSense(t *testing.T) {
	if _, err := Listen(t.Context(), "127.0.0.1", false, 1, 1); err == nil {
		t.Error("an address without a port was taken")
	}
	if _, err := Listen(t.Context(), "127.0.0.1:0", false, 0, 1); err == nil {
		t.Error("a limit of no connections was taken")
	}
}
