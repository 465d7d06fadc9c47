package safetensors

import (
	"io"
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
	const want = "23277ba6a5fb72469962e8bc28c9abbb1aee7a53fbae50c2602b8832fa8bd1b4"
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

func TestFingerprintSeesEveryByte(t *testing.T) {
	for _, n := range []int64{1, pieceBytes - 1, pieceBytes, pieceBytes + 1, 2*pieceBytes + 7} {
		seen := map[string]int64{fingerprintOf(t, flipped(n, -1)): -1}
		for _, at := range []int64{0, n / 3, n / 2, min(n, pieceBytes) - 1, n - 1} {
			sum := fingerprintOf(t, flipped(n, at))
			if other, ok := seen[sum]; ok && other != at {
				t.Errorf("of %d bytes, a one at %d and at %d have the same fingerprint", n, at, other)
			}
			seen[sum] = at
		}
	}
}
