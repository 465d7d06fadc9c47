// Peers measures what a reward server costs by itself, beside two servers as
// they are commonly written: Flask, gunicorn and pickle with JPEG files, and
// FastAPI with base64 PNG in JSON. From the root of the module:
//
//	go run ./examples/peers
//
// All evaluators are stand-ins that return 64x64 maps at once. Each server runs
// in its own processes and shares the machine with the load; requests hold 16
// photographs of 512x512. The table says how many images a second each server
// took and the processor time of an image, with the ratios to the peer of the
// same image form, and what share of the machine other programs took meanwhile:
// rates say little when that is not near 0. With -quiet 0.05 it waits for moments
// in which it is. It needs python3 with flask, gunicorn, fastapi, uvicorn, numpy
// and Pillow.
//
// transformers_loop.py beside it runs by itself, on a GPU: it measures the
// generate loop of transformers at the shapes of ImageDoctor.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/denseflow/densereward/internal/loadgen"
)

type options struct {
	images   string
	scripts  string
	python   string
	duration time.Duration
	warmup   time.Duration
	batch    int
	workers  int
	cache    int64
	quiet    float64
	only     string
	serve    string
}

func main() {
	var o options
	flag.StringVar(&o.images, "images", "engine/image/testdata/images", "folder with astronaut.png and coffee.png")
	flag.StringVar(&o.scripts, "scripts", "examples/peers", "folder with the peers' scripts")
	flag.StringVar(&o.python, "python", "", "Python interpreter; \"\" looks for one that has what the peers need")
	flag.DurationVar(&o.duration, "duration", 10*time.Second, "how long each combination is measured")
	flag.DurationVar(&o.warmup, "warmup", 2*time.Second, "how long each combination runs before")
	flag.IntVar(&o.batch, "batch", 16, "images in a request")
	flag.IntVar(&o.workers, "workers", 2, "worker processes of gunicorn")
	flag.Int64Var(&o.cache, "cache", 256<<20, "bytes of densereward's result cache, which no request here finds anything in; 0 turns it off")
	flag.Float64Var(&o.quiet, "quiet", 1, "share of the machine that others may take: wait until they take no more, and measure again, up to 20 times, if they took more meanwhile")
	flag.StringVar(&o.only, "only", "", "measure only where server and form, as in \"densereward jpeg\", hold this")
	flag.StringVar(&o.serve, "serve", "", "be the densereward server, on this address (the program calls itself so)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if o.serve != "" {
		err = serve(ctx, o)
	} else {
		err = compare(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// concurrencies are the numbers of requests in flight that are measured.
func concurrencies() []int { return []int{4, 8} }

// compare starts one server after the other, loads each, and prints the table.
func compare(ctx context.Context, o options) error {
	python, err := findPython(ctx, o.python)
	if err != nil {
		return err
	}
	photographs, err := readPhotographs(o.images)
	if err != nil {
		return err
	}
	var rows []row
	for _, c := range contestants(o, python) {
		c.forms = slices.DeleteFunc(c.forms, func(f loadgen.Form) bool {
			return !strings.Contains(c.name+" "+string(f), o.only)
		})
		if len(c.forms) == 0 {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s ...\n", c.name)
		more, err := c.measure(ctx, o, photographs)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		rows = append(rows, more...)
	}
	return writeTable(os.Stdout, rows)
}

// measure starts the contestant, loads it in each of its forms, and stops it.
func (c *contestant) measure(ctx context.Context, o options, photographs photographs) (rows []row, err error) {
	p, err := start(ctx, c.command, c.address)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	for _, form := range c.forms {
		images, err := photographs.encode(form)
		if err != nil {
			return nil, err
		}
		for _, n := range concurrencies() {
			target, err := c.target(c.address, fmt.Sprintf("%s, %d in flight", form, n), n, o.batch, images)
			if err != nil {
				return nil, err
			}
			r := row{server: c.name, peer: c.peer, form: form, concurrency: n}
			if r.report, r.others, err = measureQuietly(ctx, o, n, target, p); err != nil {
				return nil, err
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// measureQuietly measures until others leave the machine alone, and returns the
// quietest measurement with the others' share.
func measureQuietly(ctx context.Context, o options, concurrency int, target loadgen.Target, p *process) (best *loadgen.Report, others float64, err error) {
	const tries = 20
	for range tries {
		if err := p.waitForQuiet(ctx, o.quiet); err != nil {
			return nil, 0, err
		}
		r, share, err := measureOnce(ctx, o, concurrency, target, p)
		if err != nil {
			return nil, 0, err
		}
		if best == nil || share < others {
			best, others = r, share
		}
		if others <= o.quiet {
			break
		}
	}
	return best, others, nil
}

// measureOnce runs one load, of which nothing may fail.
func measureOnce(ctx context.Context, o options, concurrency int, target loadgen.Target, p *process) (*loadgen.Report, float64, error) {
	var marks []mark // at the beginning and at the end
	load := loadgen.Load{
		Concurrency: concurrency, Warmup: o.warmup, Duration: o.duration, Timeout: time.Minute,
		ServerCPU: func() time.Duration {
			m := markNow(p)
			marks = append(marks, m)
			return m.server
		},
	}
	r, err := loadgen.Run(ctx, load, target)
	if err != nil {
		return nil, 0, err
	}
	if bad := r.Requests - r.Codes[loadgen.OK]; bad > 0 || r.Failed > 0 {
		return nil, 0, fmt.Errorf("%d requests and %d images failed: %v", bad, r.Failed, r.Codes)
	}
	return r, marks[1].others(marks[0]), nil
}
