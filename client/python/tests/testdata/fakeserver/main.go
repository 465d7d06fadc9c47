// Fakeserver is a real server whose evaluator is the fake one: its answers
// follow from the pixels and the prompt of each sample alone. A sample whose
// prompt begins with "fail" is refused by the evaluator.
package main

import (
	"context"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/credentials"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address; the first line printed is the one that came of it")
	delay := flag.Duration("delay", 0, "how long a batch takes")
	maxBatch := flag.Int("batch", 64, "largest batch")
	hang := flag.Int64("hang-after", math.MaxInt64, "samples after which evaluations never end")
	journal := flag.String("journal", "", "file that gets a line for each sample evaluated")
	tokens := flag.String("tokens", "", "file of the bearer tokens to ask for")
	name := flag.String("name", "", "name of the evaluator")
	fingerprint := flag.String("fingerprint", "", "fingerprint of the evaluator")
	slow := flag.Duration("loading", 0, "how long the server is not ready")
	writes := flag.Bool("writes", false, "host a second evaluator, named writer, that continues prompts")
	secure := flag.String("tls", "", "serve TLS on a free port, and write the certificate to this file")
	flag.Parse()
	fake := &rewardtest.Fake{Name: *name, Fingerprint: *fingerprint, Delay: *delay, Fail: fail}
	if *journal != "" {
		file, err := os.OpenFile(*journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			log.Fatal(err)
		}
		var evaluated atomic.Int64
		fake.Before = func(ctx context.Context, samples []reward.Sample) error {
			if evaluated.Load() >= *hang {
				<-ctx.Done()
				return ctx.Err()
			}
			evaluated.Add(int64(len(samples)))
			return record(file, samples)
		}
	}
	hosted := []reward.Evaluator{fake}
	if *writes {
		hosted = append(hosted, &rewardtest.Writer{Fake: rewardtest.Fake{Name: "writer", Fail: fail}})
	}
	handler, err := newHandler(*tokens, *slow, *maxBatch, hosted)
	if err == nil && *secure != "" {
		err = serveTLS(*secure, handler)
	} else if err == nil {
		err = serve(*listen, handler)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func fail(s reward.Sample) error {
	if strings.HasPrefix(s.Prompt, "fail") {
		return reward.ErrEvaluatorFailed.With("told to fail: %s", s.Prompt)
	}
	return nil
}

// record appends a line with the identity of each sample, in one write, so that
// a kill leaves whole lines.
func record(file *os.File, samples []reward.Sample) error {
	var lines strings.Builder
	for _, s := range samples {
		fmt.Fprintf(&lines, "%016x\n", rewardtest.Identity(s.Image))
	}
	_, err := file.WriteString(lines.String())
	return err
}

func newHandler(tokens string, loading time.Duration, maxBatch int, hosted []reward.Evaluator) (http.Handler, error) {
	scheduling := batch.DefaultConfig()
	scheduling.CacheBytes = 0 // every sample is evaluated, and counted
	scheduling.MaxBatch = maxBatch
	scheduling.Eager = true
	ready := time.Now().Add(loading)
	config := server.Config{
		Ready: func() error {
			if time.Now().Before(ready) {
				return errors.New("loading")
			}
			return nil
		},
	}
	for _, e := range hosted {
		scheduler, err := batch.New(scheduling, e)
		if err != nil {
			return nil, err
		}
		config.Models = append(config.Models, server.Model{Description: e.Describe(), Scorer: scheduler})
	}
	if tokens != "" {
		var err error
		if config.Tokens, err = credentials.OpenTokens(tokens); err != nil {
			return nil, err
		}
	}
	return server.New(config)
}

func serve(listen string, handler http.Handler) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	return http.Serve(listener, handler)
}

// serveTLS serves with the certificate of package httptest, which names
// 127.0.0.1 and which nobody trusts who was not given it.
func serveTLS(certificate string, handler http.Handler) error {
	web := httptest.NewUnstartedServer(handler)
	web.StartTLS()
	block := &pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}
	if err := os.WriteFile(certificate, pem.EncodeToMemory(block), 0o644); err != nil {
		return err
	}
	fmt.Println(web.URL)
	select {}
}
