package server_test

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"github.com/denseflow/densereward/reward/server"
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
			l, err := server.Listen(t.Context(), tt.address, tt.public, 1)
			if l != nil {
				defer l.Close()
			}
			if (err == nil) != tt.ok || (!tt.ok && !errors.Is(err, server.ErrNotLoopback)) {
				t.Errorf("error %v, want success %v", err, tt.ok)
			}
		})
	}
}

func TestListenRefusesWhatMakesNoSense(t *testing.T) {
	if _, err := server.Listen(t.Context(), "127.0.0.1", false, 1); err == nil {
		t.Error("an address without a port was taken")
	}
	if _, err := server.Listen(t.Context(), "127.0.0.1:0", false, 0); err == nil {
		t.Error("a limit of no connections was taken")
	}
}

func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		l := server.LimitConnections(n, 2)
		accepted := make(chan net.Conn, 10)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					close(accepted)
					return
				}
				accepted <- c
			}
		}()
		for range 4 {
			go func() { _, _ = n.dial(t.Context()) }()
		}
		synctest.Wait()
		if len(accepted) != 2 {
			t.Fatalf("%d connections accepted, want 2", len(accepted))
		}
		first := <-accepted
		if err := errors.Join(first.Close(), first.Close()); err != nil { // twice gives one place back
			t.Error(err)
		}
		synctest.Wait()
		if len(accepted) != 2 {
			t.Errorf("%d connections accepted after one was closed, want 2", len(accepted))
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		<-accepted
		<-accepted
		if _, more := <-accepted; more {
			t.Error("a closed listener accepts")
		}
	})
}
