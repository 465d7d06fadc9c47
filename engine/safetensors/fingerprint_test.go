package safetensors

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// fingerprintOf writes tensors as one file and returns its fingerprint.
func fingerprintOf(t *testing.T, tensors ...Source) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := Write(path, tensors); err != nil {
		t.Fatal(err)
	}
	c, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return mustFingerprint(t, c)
}

func mustFingerprint(t *testing.T, c *Checkpoint) string {
	t.Helper()
	sum, err := c.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// flipped is a tensor of n zeros but for a one at the given byte.
func flipped(n, at int64) Source {
	return Source{Name: "w", DType: U8, Shape: []int64{n}, Fill: func(w io.Writer) error {
		data := make([]byte, n)
		if at >= 0 {
			data[at] = 1
		}
		_, err := w.Write(data)
		return err
	}}
}

func TestFingerprintDoesNotDependOnFiles(t *testing.T) {
	tensors := []Source{bytesSource("a", 1, 2), bytesSource("b", 3), bytesSource("c")}
	want := fingerprintOf(t, tensors...)
	if got := fingerprintOf(t, tensors[2], tensors[0], tensors[1]); got != want {
		t.Error("the order of the tensors changes it")
	}
	dir := t.TempDir()
	if err := WriteShards(dir, tensors, 1); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := mustFingerprint(t, c); got != want {
		t.Error("sharding changes it")
	}
	if len(want) != 64 {
		t.Errorf("%q is not a SHA-256 in hex", want)
	}
}

func TestFingerprintOfTheNanoCheckpointIsPinned(t *testing.T) {
	// Results are cached and reported under this name: a change of the
	// algorithm must be deliberate.
	c, err := Open(nano)
	if err != nil {
		t.Fatal(err)
	}
	const want = "d7f8d72cc732962f36d1f521851aba06feb2ee07b2e80e4502f0d1019c2fe075"
	if got := mustFingerprint(t, c); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFingerprintTellsDescriptionsApart(t *testing.T) {
	data := []byte{1, 2, 3, 4}
	fill := func(w io.Writer) error { _, err := w.Write(data); return err }
	seen := map[string]string{}
	for name, tensors := range map[string][]Source{
		"as it is":        {{"w", U8, []int64{4}, fill}},
		"another name":    {{"v", U8, []int64{4}, fill}},
		"another dtype":   {{"w", I8, []int64{4}, fill}},
		"another shape":   {{"w", U8, []int64{2, 2}, fill}},
		"another content": {bytesSource("w", 1, 2, 3, 5)},
		"one more":        {{"w", U8, []int64{4}, fill}, bytesSource("x")},
		"none":            {},
	} {
		sum := fingerprintOf(t, tensors...)
		if other, ok := seen[sum]; ok {
			t.Errorf("%s and %s have the same fingerprint", name, other)
		}
		seen[sum] = name
	}
}

func TestFingerprintSeesTheSampledBytes(t *testing.T) {
	for _, n := range []int64{1, sampleAll - 1, sampleAll, sampleAll + 1, 10 * sampleAll} {
		whole := fingerprintOf(t, flipped(n, -1))
		for _, at := range []int64{0, n / 2 / sampleBlock, n - 1} {
			if fingerprintOf(t, flipped(n, at)) == whole {
				t.Errorf("byte %d of %d is not seen", at, n)
			}
		}
	}
	// What the documentation says it does not see.
	const between = sampleAll/2 + 5*sampleBlock
	if fingerprintOf(t, flipped(10*sampleAll, between)) != fingerprintOf(t, flipped(10*sampleAll, -1)) {
		t.Error("a byte between the blocks is seen: the documentation is out of date")
	}
}

func TestFingerprintOfAFullSizeTensorReadsOnlyItsSample(t *testing.T) {
	// Reading all of its 64 GiB would take minutes.
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := Write(path, []Source{{Name: "w", DType: BF16, Shape: []int64{1 << 15, 1 << 20}}}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() < 64<<30 {
		t.Fatalf("the file has %d bytes", info.Size())
	}
	c, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mustFingerprint(t, c)
}
