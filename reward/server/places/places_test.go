package places

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/internal/memnet"
)

// accept accepts until l is closed.
func accept(l *Listener) <-chan *Place {
	accepted := make(chan *Place, 100)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c.(*Place)
		}
	}()
	return accepted
}

func TestConnectionsThatAreAnsweredKeepTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		l := Limit(n, 2, 1, 3)
		accepted := accept(l)
		for range 5 {
			go n.DialContext(t.Context(), "", "")
		}
		synctest.Wait()
		if len(accepted) != 3 {
			t.Fatalf("%d connections accepted, want 2 and a spare one", len(accepted))
		}
		first, second, third := <-accepted, <-accepted, <-accepted
		if first.Spare() || second.Spare() || !third.Spare() {
			t.Error("the last one alone is spare")
		}
		for _, p := range []*Place{first, second, third} {
			p.answer(true)
		}
		time.Sleep(time.Minute)
		if len(accepted) != 0 {
			t.Error("a connection was closed in mid-answer")
		}
		if err := errors.Join(first.Close(), first.Close()); err != nil { // twice gives one place back
			t.Error(err)
		}
		synctest.Wait()
		if len(accepted) != 1 {
			t.Errorf("%d connections accepted after one was closed, want 1", len(accepted))
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		<-accepted
		if _, more := <-accepted; more {
			t.Error("a closed listener accepts")
		}
	})
}

func TestOneDirectionClosesBeforeTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		l := Limit(n, 1, 0, 1)
		accepted := accept(l)
		client, err := n.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		p := <-accepted
		if err := p.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(client); err != nil || len(got) != 0 {
			t.Errorf("the client reads %d bytes and error %v, want the end", len(got), err)
		}
		go client.Write([]byte("body"))
		if got, err := io.ReadAll(io.LimitReader(p, 4)); err != nil || string(got) != "body" {
			t.Errorf("the server reads %q, %v", got, err)
		}
		whole := &Place{Conn: struct{ net.Conn }{p.Conn}}
		if err := whole.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("a connection without halves: %v", err)
		}
		if err := errors.Join(p.Close(), client.Close(), l.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestConnectionsWithoutARequestAreClosedForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		l := Limit(n, 3, 0, 3)
		accepted := accept(l)
		for range 3 {
			n.DialContext(t.Context(), "", "")
		}
		busy, trusted, idle := <-accepted, <-accepted, <-accepted
		busy.answer(true)
		trusted.answer(true)
		trusted.Trust("a")
		trusted.answer(false)
		began := time.Now()
		for _, want := range []*Place{idle, trusted} {
			go n.DialContext(t.Context(), "", "")
			p := <-accepted
			p.answer(true)
			if _, err := want.Read(make([]byte, 1)); err == nil {
				t.Error("the connection is not closed")
			}
		}
		if took := time.Since(began); took > 2*Patience {
			t.Errorf("took %v", took)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAClientHasNoMoreThanItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		l := Limit(n, 8, 0, 2)
		accepted := accept(l)
		connect := func() net.Conn {
			c, err := n.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return c
		}
		connect()
		connect()
		first, second := <-accepted, <-accepted // of one address
		first.answer(true)
		second.answer(true)
		refused := connect()
		if _, err := refused.Read(make([]byte, 1)); err == nil || len(accepted) != 0 || l.Refused() != 1 {
			t.Errorf("a third connection: %v, %d refused", err, l.Refused())
		}
		if !first.Trust("a") || !second.Trust("a") || !second.Trust("a") {
			t.Error("an owner's first connections are refused")
		}
		connect() // the address has none any more
		third := <-accepted
		if third.Trust("a") || !third.Trust("b") || l.Refused() != 2 {
			t.Errorf("the third of an owner, %d refused", l.Refused())
		}
		third.answer(true)
		second.answer(false)
		time.Sleep(Patience)
		connect()
		connect()
		<-accepted
		<-accepted
		time.Sleep(Patience)
		connect() // takes the place of one that its own address does not use
		if len(accepted) != 1 || l.Refused() != 2 {
			t.Errorf("%d accepted, %d refused", len(accepted), l.Refused())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
