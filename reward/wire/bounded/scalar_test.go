package bounded

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/denseflow/densereward/reward"
)

// numpyScalar is what msgpack-numpy writes of a numpy scalar.
func numpyScalar(dtype, data string) map[string]any {
	b, err := hex.DecodeString(data)
	if err != nil {
		panic(err)
	}
	return map[string]any{"nd": false, "type": dtype, "data": b}
}

func readerOf(t *testing.T, value any) *Reader {
	t.Helper()
	body, err := msgpack.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return New(body)
}

// The bytes are those of numpy: np.int8(-3).tobytes() and so on.
func TestNumpysScalarsAreNumbers(t *testing.T) {
	zeroDimensional := numpyScalar("<f4", "0000003f")
	zeroDimensional["nd"], zeroDimensional["kind"], zeroDimensional["shape"] = true, []byte{}, []int{}
	for name, tt := range map[string]struct {
		value any
		want  float64
	}{
		"int8":                        {numpyScalar("|i1", "fd"), -3},
		"uint8":                       {numpyScalar("|u1", "fd"), 253},
		"int16":                       {numpyScalar("<i2", "fdff"), -3},
		"uint16":                      {numpyScalar("<u2", "fdff"), 65533},
		"int32":                       {numpyScalar("<i4", "fdffffff"), -3},
		"uint32":                      {numpyScalar("<u4", "fdffffff"), 4294967293},
		"int64":                       {numpyScalar("<i8", "fdffffffffffffff"), -3},
		"uint64":                      {numpyScalar("<u8", "0500000000000000"), 5},
		"float16":                     {numpyScalar("<f2", "0038"), 0.5},
		"float16 below normal":        {numpyScalar("<f2", "0180"), -1 * math.Ldexp(1, -24)},
		"the greatest float16":        {numpyScalar("<f2", "ff7b"), 65504},
		"bfloat16":                    {numpyScalar("bfloat16", "003f"), 0.5},
		"float32":                     {numpyScalar("<f4", "0000003f"), 0.5},
		"float64":                     {numpyScalar("<f8", "000000000000e03f"), 0.5},
		"an array without dimensions": {zeroDimensional, 0.5},
		"a plain number":              {0.5, 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readerOf(t, tt.value).Float()
			if err != nil || got != tt.want {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
			if strings.Contains(name, "float") || tt.want != math.Trunc(tt.want) {
				return
			}
			if n, err := readerOf(t, tt.value).Int(-10, math.MaxInt); err != nil || n != int(tt.want) {
				t.Errorf("as an integer: got %v, %v", n, err)
			}
		})
	}
	for data, want := range map[string]bool{"00": false, "01": true} {
		if got, err := readerOf(t, numpyScalar("|b1", data)).Bool(); err != nil || got != want {
			t.Errorf("boolean %s: got %v, %v", data, got, err)
		}
	}
}

func TestWhatIsNoScalarIsRefused(t *testing.T) {
	nested := any(true)
	for range 10_000 {
		nested = map[string]any{"nd": nested}
	}
	for name, tt := range map[string]struct {
		value any
		read  func(*Reader) error
		want  string
	}{
		"NaN":                      {numpyScalar("<f4", "0000c07f"), float, "not finite"},
		"infinity":                 {numpyScalar("<f2", "007c"), float, "not finite"},
		"too few bytes":            {numpyScalar("<f8", "0000003f"), float, "4 bytes of data, want 8"},
		"no bytes":                 {map[string]any{"nd": false, "type": "<f8"}, float, "0 bytes of data"},
		"no type":                  {map[string]any{"nd": false, "data": []byte{1}}, float, "want a number"},
		"an empty map":             {map[string]any{}, float, "want a number"},
		"an object":                {map[string]any{"nd": false, "type": "|O", "data": []byte{1}}, float, "not a type"},
		"a big-endian number":      {numpyScalar(">f4", "3f000000"), float, "big-endian"},
		"an array of one number":   {map[string]any{"nd": true, "type": "|u1", "shape": []int{1}, "data": []byte{1}}, float, "limit 0"},
		"an array without a shape": {map[string]any{"nd": true, "type": "|u1", "data": []byte{1}}, float, "want a number"},
		"a complex number":         {map[string]any{"complex": true, "data": []byte("1j")}, float, "unknown key"},
		"a boolean as a number":    {numpyScalar("|b1", "01"), float, "want a number"},
		"a fraction as an integer": {numpyScalar("<f4", "0000003f"), integer, "want an integer"},
		"an integer out of range":  {numpyScalar("<i4", "0b000000"), integer, "want an integer in [0,10]"},
		"a uint64 beyond int64":    {numpyScalar("<u8", "ffffffffffffffff"), integer, "want an integer"},
		"a number as a boolean":    {numpyScalar("|u1", "01"), boolean, "want a boolean"},
		"scalars in scalars":       {nested, float, "want a boolean"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.read(readerOf(t, tt.value))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
			if reward.AsError(err, nil) == nil {
				t.Errorf("%v is no error of the protocol", err)
			}
		})
	}
}

func float(r *Reader) error   { _, err := r.Float(); return err }
func integer(r *Reader) error { _, err := r.Int(0, 10); return err }
func boolean(r *Reader) error { _, err := r.Bool(); return err }
