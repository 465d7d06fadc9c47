package wire

import "github.com/denseflow/densereward/reward"

// check holds the fields of a request against each other.
func (q *Request) check(limits Limits) error {
	n := len(q.Prompts)
	switch {
	case q.Prompts == nil:
		return reward.ErrMissingField.With("prompts: required")
	case n == 0:
		return reward.ErrInvalidValue.With("prompts: want at least one")
	case n > limits.Samples:
		return reward.ErrTooManyImages.With("prompts: %d elements, limit %d", n, limits.Samples)
	case q.Images == nil && q.Latents == nil:
		return reward.ErrMissingField.With("images: required unless latents are given")
	case q.Images != nil && q.Latents != nil:
		return reward.ErrInvalidValue.With("latents: give images or latents, not both")
	case q.Images != nil && q.VAE != "":
		return reward.ErrInvalidValue.With("vae: goes with latents, not with images")
	case q.Images != nil && len(q.Images) != n:
		return reward.ErrImageCountMismatch.With("images: %d for %d prompts", len(q.Images), n)
	case q.Metadata != nil && len(q.Metadata) != n:
		return reward.ErrImageCountMismatch.With("metadata: %d for %d prompts", len(q.Metadata), n)
	case q.Groups.Names != nil && len(q.Groups.Names) != n:
		return reward.ErrImageCountMismatch.With("groups: %d names for %d prompts", len(q.Groups.Names), n)
	case q.Groups.Members != nil && len(q.Groups.Members) != n:
		return reward.ErrImageCountMismatch.With("groups.members: %d for %d prompts", len(q.Groups.Members), n)
	}
	if err := q.checkGroups(); err != nil {
		return err
	}
	if q.Latents != nil {
		return q.checkLatents()
	}
	return nil
}

// checkGroups holds groups that span requests against the rest.
func (q *Request) checkGroups() error {
	if q.Groups.Step == "" {
		return nil
	}
	switch {
	case q.Rank:
		return reward.ErrInvalidValue.With("rank: places are those within one request, not in groups that span several")
	case q.Advantage == nil || q.Advantage.Method == reward.AdvantageNone:
		return reward.ErrMissingField.With("advantage: groups that span requests need a method")
	case q.Advantage.AllGroups() && q.Groups.Count == 0:
		return reward.ErrMissingField.With("groups.count: required with global_std and method %q", reward.AdvantageGDPO)
	case !q.Advantage.AllGroups() && q.Groups.Count != 0:
		return reward.ErrInvalidValue.With("groups.count: goes with global_std and method %q", reward.AdvantageGDPO)
	}
	type place struct {
		group  string
		member int
	}
	places := make(map[place]int, len(q.Groups.Members))
	for i, m := range q.Groups.Members {
		if m >= q.Groups.Size {
			return reward.ErrInvalidValue.With("groups.members[%d]: %d is not below size %d", i, m, q.Groups.Size)
		}
		at := place{q.GroupName(i), m}
		if first, taken := places[at]; taken {
			return reward.ErrInvalidValue.With("groups.members[%d]: member %d of its group is sample %d already", i, m, first)
		}
		places[at] = i
	}
	return nil
}

func (q *Request) checkLatents() error {
	t := q.Latents
	switch t.Type {
	case reward.Float16, reward.BFloat16, reward.Float32:
	default:
		return reward.ErrUnsupportedDType.With("latents: type %s: want float32, float16 or bfloat16", t.Type)
	}
	if rank := len(t.Shape); (rank != 3 && rank != 4) || len(t.Data) == 0 {
		return reward.ErrInvalidValue.With("latents: shape %v: want (N,C,h,w) or packed (N,L,D)", t.Shape)
	}
	if t.Shape[0] != len(q.Prompts) {
		return reward.ErrImageCountMismatch.With("latents: %d for %d prompts", t.Shape[0], len(q.Prompts))
	}
	if q.VAE == "" {
		return reward.ErrMissingField.With("vae: required with latents")
	}
	return nil
}
