//go:build unix

// Command items attacks a server, of any version that speaks protocol 1, in the ways
// against which the table of SECURITY.md promises something, one after the other, and
// says what each came to. It sends to this machine alone, and every attack is bounded.
//
//	go run ./reward/server/attack/items -program ./densereward -model engine/imagedoctor/nano
//	go run ./reward/server/attack/items -address http://127.0.0.1:8080
//
// With -program each attack has a server of its own, which is ended when it takes more
// than -most bytes. With -address those attacks run that need neither flags nor the
// process's memory.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// settings are the flags.
type settings struct {
	program, address, model, vae string
	library, python, pythonPath  string
	only                         string
	most                         int64
}

// verdict is what an attack came to.
type verdict struct {
	held bool // what is promised
	said string
}

// attack is one row of the table.
type attack struct {
	item  string
	name  string
	flags []string // of the server
	vae   bool     // the server needs a decoder of latents
	// against attacks a server; alone needs none that runs.
	against func(context.Context, *target) verdict
	alone   func(context.Context, *settings) verdict
	remote  bool // neither flags nor memory are needed
}

func main() {
	var s settings
	flag.StringVar(&s.program, "program", "", "the program densereward, which is started for each attack")
	flag.StringVar(&s.address, "address", "", "instead of a program: a server that runs, http://HOST:PORT")
	flag.StringVar(&s.model, "model", "", "checkpoint that the program serves; \"\" is its embedded one")
	flag.StringVar(&s.vae, "vae", "", "folder of a decoder of latents, such as engine/vae/testdata/vae-sd3-nano")
	flag.StringVar(&s.library, "library", "", "ONNX Runtime's library, of which a damaged copy is made")
	flag.StringVar(&s.python, "python", "", "Python that has what the client needs")
	flag.StringVar(&s.pythonPath, "python-client", "", "folder of the Python client, such as client/python/src")
	flag.StringVar(&s.only, "only", "", "items with commas between them, such as 1,6b; \"\" is all")
	flag.Int64Var(&s.most, "most", 3500<<20, "bytes of resident memory at which a server is ended")
	flag.Parse()
	if (s.program == "") == (s.address == "") {
		fmt.Fprintln(os.Stderr, "items: want -program or -address")
		os.Exit(2)
	}
	failed := false
	for _, a := range slices.Concat(memoryAttacks(), placeAttacks(), accessAttacks(), recordAttacks()) {
		if s.only != "" && !slices.ContainsFunc(strings.Split(s.only, ","), func(item string) bool {
			return a.item == item || strings.TrimRight(a.item, "abcdefgh") == item
		}) {
			continue
		}
		began := time.Now()
		v, ran := a.run(&s)
		if !ran {
			continue
		}
		word := "held"
		if !v.held {
			word, failed = "BROKEN", true
		}
		fmt.Printf("%-4s %-7s %s: %s (%.1f s)\n", a.item, word, a.name, v.said, time.Since(began).Seconds())
	}
	if failed {
		os.Exit(1)
	}
}

// run makes one attack. ran says whether it could.
func (a *attack) run(s *settings) (v verdict, ran bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	switch {
	case a.alone != nil && s.program == "", a.vae && s.vae == "":
		return v, false
	case a.alone != nil:
		v = a.alone(ctx, s)
		return v, v.said != ""
	case s.address != "" && !a.remote:
		return v, false
	case s.address != "":
		return a.against(ctx, &target{address: strings.TrimSuffix(s.address, "/")}), true
	}
	flags := a.flags
	if a.vae {
		flags = append(slices.Clone(flags), "--vae", "vae="+s.vae)
	}
	t, err := start(ctx, s, flags...)
	if err != nil {
		return verdict{false, err.Error()}, true
	}
	defer t.stop()
	v = a.against(ctx, t)
	if t.ended() {
		v.held, v.said = false, v.said+"; "+cmp.Or(t.killed(), "the server ended")
	}
	return v, true
}
