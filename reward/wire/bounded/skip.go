package bounded

import "github.com/denseflow/densereward/reward"

// maxSkipDepth bounds the nesting of a value that is passed over.
const maxSkipDepth = 32

// Skip passes over one value. Only responses are read with it: a request's
// unknown keys are refused.
func (r *Reader) Skip() error { return r.skipDepth(maxSkipDepth) }

func (r *Reader) skipDepth(depth int) error {
	if depth == 0 {
		return r.Fail(reward.ErrMalformedBody, "nested more than %d deep", maxSkipDepth)
	}
	k, err := r.Peek()
	if err != nil {
		return err
	}
	values := 0
	switch k {
	case KindArray:
		values, err = r.ArrayLen()
	case KindMap:
		values, err = r.MapLen()
		values *= 2
	case KindString, KindBin:
		_, err = r.Span(len(r.buf), KindString, KindBin)
	case KindNil, KindBool, KindInt, KindFloat:
		if r.dec.Skip() != nil { // one token, no recursion
			err = r.Cut()
		}
	default:
		err = r.Fail(reward.ErrMalformedBody, "%s", k)
	}
	for range values {
		if err != nil {
			return err
		}
		err = r.skipDepth(depth - 1)
	}
	return err
}

// A Mark is a place in a message.
type Mark int

// Mark is where the next token begins.
func (r *Reader) Mark() Mark { return Mark(len(r.buf) - r.Left()) }

// Rewind goes back to a place, so that a value that was not what a reader of it wanted
// can be passed over.
func (r *Reader) Rewind(to Mark) { r.src.Reset(r.buf[to:]) }
