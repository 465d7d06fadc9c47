package scoring

import (
	"crypto/sha256"
	"slices"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

// digests tell the samples' inputs apart: all that a sample is and all that is asked of
// it, but for what it is to be answered with. They are made for numbered members of groups
// that span Inputs, which may come again: an image that is evaluated anew may have other
// last bits, since those depend on the batch. Others have none.
func (l *Loaded) digests() [][sha256.Size]byte {
	if l.in.Groups.Step == "" || l.in.Groups.Members == nil {
		return nil
	}
	digests := make([][sha256.Size]byte, len(l.samples))
	for i := range l.samples {
		digests[i] = l.digest(i)
	}
	if l.o.method() == reward.AdvantageDenseGRPO { // whose gains are from the image before
		for i := len(digests) - 1; i > 0; i-- {
			if i%(l.o.Advantage.Steps+1) > 0 {
				digests[i] = sha256.Sum256(slices.Concat(digests[i-1][:], digests[i][:]))
			}
		}
	}
	return digests
}

// digest is that of sample i by itself.
func (l *Loaded) digest(i int) [sha256.Size]byte {
	var metadata map[string]any
	if l.in.Metadata != nil {
		metadata = l.in.Metadata[i]
	}
	head := []any{string(l.o.Mode), string(l.o.Missing), l.o.Clamp, list(l.weights.Scores), list(l.weights.Maps), l.in.Prompts[i], metadata}
	var data []byte
	tensor := func(t *reward.Tensor, what ...any) {
		head = append(append(head, what...), string(t.Type), list(t.Shape))
		data = t.Data
	}
	switch from := &l.samples[i].from; {
	case l.latents != nil:
		tensor(l.latents.tensor.Part(i, i+1), "latents", l.latents.decoder.Describe().Fingerprint, int64(l.latents.tokenHeight), int64(l.latents.tokenWidth))
	case from.Tensor != nil:
		tensor(from.Tensor, "tensor")
	case from.Decoded != nil:
		head, data = append(head, "image", int64(from.Decoded.Width), int64(from.Decoded.Height)), from.Decoded.Pix
	default:
		head, data = append(head, "file"), from.Encoded
	}
	hash := sha256.New()
	hash.Write(batch.AppendMetadata(nil, head))
	hash.Write(data)
	return [sha256.Size]byte(hash.Sum(nil))
}

// list is values as metadata has them.
func list[T int | float64](values []T) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = float64(v)
	}
	return all
}
