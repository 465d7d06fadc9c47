package wire

import "github.com/denseflow/densereward/reward"

// maxSkipDepth bounds the nesting of a value that is passed over.
const maxSkipDepth = 32

// skip passes over one value. Only responses are read with it: a request's
// unknown keys are refused.
func (r *reader) skip() error { return r.skipDepth(maxSkipDepth) }

func (r *reader) skipDepth(depth int) error {
	if depth == 0 {
		return r.fail(reward.ErrMalformedBody, "nested more than %d deep", maxSkipDepth)
	}
	k, err := r.peek()
	if err != nil {
		return err
	}
	values := 0
	switch k {
	case kindArray:
		values, err = r.arrayLen()
	case kindMap:
		values, err = r.mapLen()
		values *= 2
	case kindString, kindBin:
		_, err = r.span(len(r.buf), kindString, kindBin)
	case kindNil, kindBool, kindInt, kindFloat:
		if r.dec.Skip() != nil { // one token, no recursion
			err = r.cut()
		}
	default:
		err = r.fail(reward.ErrMalformedBody, "%s", k)
	}
	for range values {
		if err != nil {
			return err
		}
		err = r.skipDepth(depth - 1)
	}
	return err
}
