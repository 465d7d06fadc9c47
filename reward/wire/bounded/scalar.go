package bounded

import (
	"encoding/binary"
	"math"

	"github.com/denseflow/densereward/reward"
)

// scalar is a number or boolean of numpy's own types.
type scalar struct {
	dtype reward.DType
	data  []byte
}

// scalar reads what msgpack-numpy writes of a numpy scalar, {nd: false, type,
// data}, or of an array without dimensions, {nd: true, type, kind, shape: [],
// data}.
func (r *Reader) scalar() (scalar, error) {
	var s scalar
	var hasND, isArray, hasShape bool
	err := r.Fields(func(key string) (known bool, err error) {
		switch key {
		case "nd":
			hasND = true
			isArray, err = r.plainBool()
		case "type":
			err = r.dtype(&s.dtype)
		case "kind":
			err = r.emptyKind()
		case "shape":
			hasShape = true
			err = r.Elements(0, func(int) error { return nil })
		case "data":
			s.data, err = r.Bin()
		default:
			return false, nil
		}
		return true, err
	})
	switch {
	case err != nil:
		return s, err
	case !hasND || s.dtype == "" || isArray != hasShape:
		return s, r.Fail(reward.ErrInvalidValue, "want a number, or one as msgpack-numpy writes it: nd, type and data")
	case len(s.data) != s.dtype.Size():
		return s, r.Fail(reward.ErrInvalidValue, "%s has %d bytes of data, want %d", s.dtype, len(s.data), s.dtype.Size())
	}
	return s, nil
}

// integer is the value of an integer type, false for another or one beyond int64.
func (s scalar) integer() (int64, bool) {
	b := binary.LittleEndian
	switch s.dtype {
	case "|i1":
		return int64(int8(s.data[0])), true
	case "|u1":
		return int64(s.data[0]), true
	case "<i2":
		return int64(int16(b.Uint16(s.data))), true
	case "<u2":
		return int64(b.Uint16(s.data)), true
	case "<i4":
		return int64(int32(b.Uint32(s.data))), true
	case "<u4":
		return int64(b.Uint32(s.data)), true
	case "<i8":
		return int64(b.Uint64(s.data)), true
	case "<u8":
		u := b.Uint64(s.data)
		return int64(u), u <= math.MaxInt64
	}
	return 0, false
}

// float is the value of a number's type, false for a boolean.
func (s scalar) float() (float64, bool) {
	if n, ok := s.integer(); ok {
		return float64(n), true
	}
	b := binary.LittleEndian
	switch s.dtype {
	case reward.Float64:
		return math.Float64frombits(b.Uint64(s.data)), true
	case reward.Float32:
		return float64(math.Float32frombits(b.Uint32(s.data))), true
	case reward.BFloat16:
		return float64(math.Float32frombits(uint32(b.Uint16(s.data)) << 16)), true
	case reward.Float16:
		return float16(b.Uint16(s.data)), true
	}
	return 0, false
}

// float16 is the value of a half-precision number of IEEE 754.
func float16(bits uint16) float64 {
	sign := 1 - 2*float64(bits>>15)
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	switch {
	case exponent == 31 && fraction != 0:
		return math.NaN()
	case exponent == 31:
		return math.Inf(int(sign))
	case exponent == 0:
		return sign * math.Ldexp(fraction, -24)
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

// bool is the value of numpy's boolean, false for another type.
func (s scalar) bool() (value, ok bool) {
	return s.dtype == "|b1" && s.data[0] != 0, s.dtype == "|b1"
}
