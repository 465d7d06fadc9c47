//go:build unix

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// Tokens of two clients.
const (
	ours   = "ours-0123456789abcdef"
	theirs = "theirs-0123456789abcdef"
)

// tokensFile writes a file of tokens, which is removed by the caller.
func tokensFile() string {
	f, err := os.CreateTemp("", "tokens-")
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(f, "ours %s\ntheirs %s\n", ours, theirs)
	_ = f.Close()
	return f.Name()
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// placeAttacks are those on what others need as well.
func placeAttacks() []attack {
	tokens := tokensFile()
	return []attack{
		{
			item: "6", name: "16 bodies that stall before their last byte, --body-memory 64MiB",
			flags: []string{"--body-memory", "64MiB"}, against: stalled,
		},
		{
			item: "6b", name: "16 idle connections without a token, --connections 16",
			flags: []string{"--connections", "16", "--tokens", tokens}, against: idle,
		},
		{item: "7", name: "16 samples of mode think before one of mode answer", against: thoughts},
		{item: "7b", name: "a member of another token's group", flags: []string{"--tokens", tokens}, against: intruder},
		{item: "7c", name: "one token's 4,096 groups that wait", flags: []string{"--tokens", tokens}, against: greedy},
	}
}

// share asks for something small for a while and gives how much was answered 200.
func share(ctx context.Context, t *target, during time.Duration, header ...string) (good, all int, slowest time.Duration) {
	body := request("a polite cat", 1, 8, nil)
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		a := t.score(ctx, 10*time.Second, body, header...)
		all++
		if a.status == http.StatusOK {
			good++
		}
		slowest = max(slowest, a.took)
	}
	return good, all, slowest
}

func stalled(ctx context.Context, t *target) verdict {
	t.score(ctx, time.Minute, request("a polite cat", 1, 8, nil))
	first := make([]byte, 4<<20-1)
	for range 16 {
		c, err := t.begin(ctx, wire.ScorePath, wire.MediaType, 4<<20, nil)
		if err == nil {
			_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
			_, _ = c.Write(first)
		}
	}
	good, all, _ := share(ctx, t, 20*time.Second)
	return verdict{good*10 >= all*9, fmt.Sprintf("%d of %d requests of somebody else were answered 200 in the next 20 s", good, all)}
}

func idle(ctx context.Context, t *target) verdict {
	for range 16 {
		if c, err := t.dial(ctx); err == nil {
			fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		}
	}
	time.Sleep(1500 * time.Millisecond)
	health := t.ask(ctx, 10*time.Second, http.MethodGet, "/healthz", "", nil)
	known := t.ask(ctx, 10*time.Second, http.MethodGet, wire.ModelsPath, "", nil, bearer(ours)...)
	return verdict{health.status == 200 && known.status == 200, fmt.Sprintf("/healthz: status %d after %.1f s; a client with a token: status %d after %.1f s", health.status, health.took.Seconds(), known.status, known.took.Seconds())}
}

func thoughts(ctx context.Context, t *target) verdict {
	alone := t.score(ctx, time.Minute, request("a red cube", 1, 32, nil))
	think := request("a long story", 16, 32, func(q *wire.Request) { q.Mode = reward.ModeThink; numbered(q) })
	ended := make(chan answer, 1)
	go func() { ended <- t.score(ctx, 150*time.Second, think) }()
	time.Sleep(500 * time.Millisecond)
	short := t.score(ctx, 150*time.Second, request("a blue cube", 1, 32, nil))
	long := "had not ended then"
	select {
	case a := <-ended:
		long = fmt.Sprintf("took %.1f s", a.took.Seconds())
	default:
	}
	return verdict{short.status == 200 && short.took < 4*alone.took+2*time.Second, fmt.Sprintf("the answer took %.1f s, %.1f s alone; the thoughts %s", short.took.Seconds(), alone.took.Seconds(), long)}
}

func intruder(ctx context.Context, t *target) verdict {
	join := func(token string, member int) answer {
		body := request("a cat", 1, 8, across("step", 2, []int{1}, []int{member}))
		return t.score(ctx, 20*time.Second, body, append(bearer(token), "X-Request-Timeout", "4")...)
	}
	first := make(chan answer, 1)
	go func() { first <- join(ours, 0) }()
	time.Sleep(time.Second)
	other, own := join(theirs, 1), <-first
	return verdict{other.status != 200 && own.status != 200, fmt.Sprintf("status %d for the owner, %d for the other token", own.status, other.status)}
}

func greedy(ctx context.Context, t *target) verdict {
	for part := range 16 {
		names, members := make([]int, 256), make([]int, 256)
		for i := range names {
			names[i] = part*256 + i
		}
		body := request("a cat", 256, 1, across("theirs", 2, names, members))
		go t.score(ctx, 60*time.Second, body, append(bearer(theirs), "X-Request-Timeout", "40")...)
	}
	time.Sleep(10 * time.Second)
	var statuses [2]int
	done := make(chan answer, 1)
	go func() {
		done <- t.score(ctx, 20*time.Second, request("a cat", 1, 1, across("ours", 2, []int{1}, []int{0})), append(bearer(ours), "X-Request-Timeout", "15")...)
	}()
	statuses[0] = t.score(ctx, 20*time.Second, request("a cat", 1, 1, across("ours", 2, []int{1}, []int{1})), append(bearer(ours), "X-Request-Timeout", "15")...).status
	statuses[1] = (<-done).status
	return verdict{statuses == [2]int{200, 200}, fmt.Sprintf("the two members of another token's group: statuses %v", statuses)}
}
