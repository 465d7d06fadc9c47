package attack_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward/groups"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/budget"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/server/jobs"
	"github.com/denseflow/densereward/reward/wire"
)

// The environment makes the test's program a server, whose memory is then not the
// attackers', or clients, whose turns are then not each other's.
const (
	asServer = "DENSEREWARD_ATTACKED"
	asClient = "DENSEREWARD_ATTACKING"
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv(asServer) != "":
		err = serveProcess()
	case os.Getenv(asClient) != "":
		err = clientProcess()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// errand is what a process of clients is told: to be a polite one that sends Body, or
// hostile ones.
type errand struct {
	Address string
	Time    time.Duration
	Body    []byte
	Hostile *hostileBodies
	Nice    int // of the process, where it is hostile
}

// clientProcess runs an errand of its standard input and says what came of it.
func clientProcess() error {
	var e errand
	if err := json.NewDecoder(os.Stdin).Decode(&e); err != nil {
		return err
	}
	ctx, over := context.WithTimeout(context.Background(), e.Time)
	defer over()
	var p politeClient
	if e.Hostile != nil {
		if err := beLast(e.Nice); err != nil {
			return err
		}
		attackWith(ctx, e.Address, *e.Hostile)
	} else {
		p.run(ctx, e.Address, e.Body)
	}
	return json.NewEncoder(os.Stdout).Encode(&p)
}

// beLast makes the process's threads, and those that they start, nice, by default so that
// they have the least of the processors: hostile clients have machines of their own, and
// what is measured is what they take from others through the server.
func beLast(nice int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, nice); err != nil {
			return err
		}
	}
	return nil
}

// state is what a server holds. Descriptors are its connections and a few of its own.
type state struct {
	Heap                    uint64
	Goroutines, Descriptors int
	Bodies                  int64
}

func (s state) like(before state) bool {
	return s.Bodies == 0 && s.Goroutines <= before.Goroutines+4 && s.Descriptors <= before.Descriptors+2 && s.Heap <= before.Heap+16<<20
}

// hello is what the process says first.
type hello struct {
	Address string
	Limit   int64
}

// serveProcess answers requests until its standard input ends, of which each line
// asks for its state.
func serveProcess() error {
	const connections, pixels = 1024, 1 << 20
	plan := budget.Plan{
		Bodies: 64 << 20, Queue: 64 << 20, Groups: 16 << 20, Jobs: 16 << 20,
		Connections: connections, Decoders: runtime.GOMAXPROCS(0), ImagePixels: pixels,
	}
	debug.SetMemoryLimit(plan.Total())
	s, err := openServer(&rewardtest.Fake{Side: 128}, func(c *server.Config) {
		c.BodyMemory, c.Hosts = plan.Bodies, []string{"localhost"}
		c.Limits = wire.DefaultLimits()
		c.Limits.ImagePixels = pixels
		c.Groups, c.Jobs = groups.DefaultConfig(), jobs.DefaultConfig()
		c.Groups.Bytes, c.Jobs.AnswerBytes = plan.Groups, plan.Jobs
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	l, err := front.Listen(ctx, "127.0.0.1:0", false, connections, connections/4*3)
	if err != nil {
		return err
	}
	facing := front.Default()
	facing.Logger = slog.New(slog.DiscardHandler)
	ended := make(chan error, 1)
	go func() { ended <- facing.Serve(ctx, l, s, &front.Readiness{}, nil) }()
	say := json.NewEncoder(os.Stdout)
	if err := say.Encode(hello{l.Addr().String(), plan.Total()}); err != nil {
		return err
	}
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // pools keep things for one collection
		runtime.ReadMemStats(&m)
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return err
		}
		if err := say.Encode(state{m.HeapAlloc, runtime.NumGoroutine(), len(files), s.BodyMemoryHeld()}); err != nil {
			return err
		}
	}
	stop()
	return <-ended
}

type process struct {
	address string
	limit   int64
	pid     int
	ask     io.Writer
	says    *json.Decoder
}

func startProcess(t *testing.T) *process {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), asServer+"=1")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	p := &process{pid: c.Process.Pid, ask: in, says: json.NewDecoder(out)}
	var h hello
	if err := p.says.Decode(&h); err != nil {
		t.Fatal(err)
	}
	p.address, p.limit = h.Address, h.Limit
	return p
}

// send starts a process of clients on an errand and returns what waits for its report.
func (p *process) send(t *testing.T, e errand) (report func() *politeClient) {
	t.Helper()
	e.Address = p.address
	given, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), asClient+"=1")
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(given), &out, os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return func() *politeClient {
		client := new(politeClient)
		if err := errors.Join(c.Wait(), json.Unmarshal(out.Bytes(), client)); err != nil {
			t.Fatal(err)
		}
		return client
	}
}

func (p *process) state(t *testing.T) (s state) {
	t.Helper()
	if _, err := fmt.Fprintln(p.ask); err != nil {
		t.Fatal(err)
	}
	if err := p.says.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// rest is the state once it is like before, or after half a minute.
func (p *process) rest(t *testing.T, before state) state {
	for deadline := time.Now().Add(30 * time.Second); ; {
		if s := p.state(t); s.like(before) || time.Now().After(deadline) {
			return s
		}
	}
}

// peakRSS is the most memory that the process ever had resident.
func (p *process) peakRSS(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// bombPNG is a PNG file whose header claims 46,340 pixels a side.
func bombPNG() []byte {
	file := rewardtest.PNG(rewardtest.Image(1, 8, 8))
	header := file[12:29] // type and content of IHDR
	binary.BigEndian.PutUint32(header[4:], 46340)
	binary.BigEndian.PutUint32(header[8:], 46340)
	binary.BigEndian.PutUint32(file[29:], crc32.ChecksumIEEE(header))
	return file
}
