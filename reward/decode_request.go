package reward

// DecodeRequest reads a Request from a body. Nothing is allocated for a length
// that the body does not hold or the limits do not allow, and the data of
// pictures and tensors alias body. Every error is an *Error that names the
// field; the caller has checked len(body) against limits.BodyBytes.
//
// A request that DecodeRequest returns is complete: its fields agree in number
// and its names are those of the protocol. What the evaluator, the decoder or
// the pictures' own bytes may still refuse comes later.
func DecodeRequest(body []byte, limits Limits) (*Request, error) {
	r := newReader(body)
	q := &Request{}
	err := r.fields(func(key string) (bool, error) {
		if absent, err := r.skipNil(); absent || err != nil {
			return knownRequestKey(key), err
		}
		return r.requestField(q, key, limits)
	})
	if err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if err := q.check(limits); err != nil {
		return nil, err
	}
	return q, nil
}

func knownRequestKey(key string) bool {
	switch key {
	case "prompts", "images", "latents", "vae", "mode", "grid", "groups", "advantage", "weights", "return", "evaluator":
		return true
	}
	return false
}

func (r *reader) requestField(q *Request, key string, limits Limits) (known bool, err error) {
	switch key {
	case "prompts":
		q.Prompts, err = r.prompts(limits)
	case "images":
		q.Images, err = r.images(limits)
	case "latents":
		q.Latents, err = r.tensor()
	case "vae":
		q.VAE, err = r.text(limits.NameBytes)
	case "mode":
		q.Mode, err = r.mode()
	case "grid":
		q.Grid, err = r.grid(limits)
	case "groups":
		q.Groups, err = r.groups(limits)
	case "advantage":
		q.Advantage, err = r.advantage()
	case "weights":
		q.Weights, err = r.weights()
	case "return":
		q.Return, err = r.returns()
	case "evaluator":
		q.Evaluator, err = r.text(limits.NameBytes)
	default:
		return false, nil
	}
	return true, err
}

// samples reads the head of an array that has one element a sample and fails
// past the limit on samples.
func (r *reader) samples(limits Limits) (int, error) {
	n, err := r.arrayLen()
	if err == nil && n > limits.Samples {
		err = r.fail(ErrTooManyImages, "%d elements, limit %d", n, limits.Samples)
	}
	return n, err
}

func (r *reader) prompts(limits Limits) ([]string, error) {
	n, err := r.samples(limits)
	if err != nil {
		return nil, err
	}
	return r.texts(n, limits.PromptBytes)
}

func (r *reader) texts(n, limit int) ([]string, error) {
	texts := make([]string, n)
	for i := range texts {
		r.pushIndex(i)
		t, err := r.text(limit)
		r.pop()
		if err != nil {
			return nil, err
		}
		texts[i] = t
	}
	return texts, nil
}

// images reads an array of files and tensors, or one tensor of all.
func (r *reader) images(limits Limits) ([]Picture, error) {
	if err := r.expect(kindArray, kindMap); err != nil {
		return nil, err
	}
	if k, _ := r.peek(); k == kindMap {
		return r.imageBatch(limits)
	}
	n, err := r.samples(limits)
	if err != nil {
		return nil, err
	}
	pictures := make([]Picture, n)
	for i := range pictures {
		r.pushIndex(i)
		err := r.picture(&pictures[i])
		r.pop()
		if err != nil {
			return nil, err
		}
	}
	return pictures, nil
}

func (r *reader) imageBatch(limits Limits) ([]Picture, error) {
	t, err := r.tensor()
	if err != nil {
		return nil, err
	}
	if len(t.Shape) > 0 && t.Shape[0] > limits.Samples {
		return nil, r.fail(ErrTooManyImages, "%d images, limit %d", t.Shape[0], limits.Samples)
	}
	if err := r.imageTensor(t, 4); err != nil {
		return nil, err
	}
	return SplitImages(t)
}

func (r *reader) picture(p *Picture) (err error) {
	if err := r.expect(kindBin, kindMap); err != nil {
		return err
	}
	if k, _ := r.peek(); k == kindBin {
		p.Encoded, err = r.bin()
		return err
	}
	if p.Tensor, err = r.tensor(); err != nil {
		return err
	}
	return r.imageTensor(p.Tensor, 3)
}

// imageTensor checks the type and shape of one image (rank 3) or many (4).
func (r *reader) imageTensor(t *Tensor, rank int) error {
	switch t.Type {
	case Uint8, Float16, BFloat16, Float32:
	default:
		return r.fail(ErrUnsupportedDType, "type %s: want uint8, float16, bfloat16 or float32", t.Type)
	}
	s := t.Shape
	if len(s) != rank || (s[rank-1] != 3 && s[rank-3] != 3) || len(t.Data) == 0 {
		want := "(h,w,3) or (3,h,w)"
		if rank == 4 {
			want = "(N,h,w,3) or (N,3,h,w)"
		}
		return r.fail(ErrInvalidValue, "shape %v: want %s", s, want)
	}
	return nil
}

func (r *reader) mode() (Mode, error) {
	s, err := r.text(maxKeyBytes)
	if err != nil {
		return "", err
	}
	if !Mode(s).Valid() {
		return "", r.fail(ErrInvalidValue, "%q: want %q or %q", s, ModeAnswer, ModeThink)
	}
	return Mode(s), nil
}

// grid reads {preset} or {height, width}.
func (r *reader) grid(limits Limits) (GridSpec, error) {
	var g GridSpec
	err := r.fields(func(key string) (known bool, err error) {
		switch key {
		case "preset":
			g.Preset, err = r.text(maxKeyBytes)
		case "height":
			g.Height, err = r.int(1, limits.MapCells)
		case "width":
			g.Width, err = r.int(1, limits.MapCells)
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return g, err
	}
	sides := g.Height > 0 && g.Width > 0
	if (g.Preset != "") == sides || (g.Height > 0) != (g.Width > 0) {
		return g, r.fail(ErrInvalidValue, "want either preset or height and width")
	}
	return g, nil
}

// groups reads an array of names, or {step, size, names, members}.
func (r *reader) groups(limits Limits) (Groups, error) {
	var g Groups
	if err := r.expect(kindArray, kindMap); err != nil {
		return g, err
	}
	if k, _ := r.peek(); k == kindArray {
		n, err := r.samples(limits)
		if err != nil {
			return g, err
		}
		g.Names, err = r.texts(n, limits.NameBytes)
		return g, err
	}
	err := r.fields(func(key string) (known bool, err error) {
		switch key {
		case "step":
			g.Step, err = r.text(limits.NameBytes)
		case "size":
			g.Size, err = r.int(1, limits.GroupSize)
		case "names":
			g.Names, err = r.prompts(limits)
		case "members":
			g.Members, err = r.members(limits)
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && (g.Step == "" || g.Size == 0) {
		err = r.fail(ErrMissingField, "a map needs step and size")
	}
	return g, err
}

func (r *reader) members(limits Limits) ([]int, error) {
	n, err := r.samples(limits)
	if err != nil {
		return nil, err
	}
	members := make([]int, n)
	for i := range members {
		r.pushIndex(i)
		m, err := r.int(0, limits.GroupSize-1)
		r.pop()
		if err != nil {
			return nil, err
		}
		members[i] = m
	}
	return members, nil
}

func (r *reader) advantage() (*Advantage, error) {
	a := &Advantage{}
	err := r.fields(func(key string) (known bool, err error) {
		switch key {
		case "method":
			var s string
			s, err = r.text(maxKeyBytes)
			a.Method = AdvantageMethod(s)
			if err == nil && !a.Method.Valid() {
				err = r.fail(ErrInvalidValue, "%q is not a method of the protocol", s)
			}
		case "global_std":
			a.GlobalStd, err = r.bool()
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && a.Method == "" {
		err = r.fail(ErrMissingField, "method is required")
	}
	return a, err
}

// weights reads {scores: {name: w}, heatmaps: {misalignment, artifact}}. A map
// that is present replaces the defaults of its kind: what it leaves out is 0.
func (r *reader) weights() (*Weights, error) {
	w := DefaultWeights()
	err := r.fields(func(key string) (bool, error) {
		switch key {
		case "scores":
			w.Scores = [NumScores]float64{}
			return true, r.fields(func(key string) (known bool, err error) {
				for s, name := range scoreNames {
					if key == name {
						w.Scores[s], err = r.float()
						return true, err
					}
				}
				return false, nil
			})
		case "heatmaps":
			w.Misalignment, w.Artifact = 0, 0
			return true, r.heatmapWeights(&w)
		}
		return false, nil
	})
	return &w, err
}

// weightSlack admits the rounding of weights that are meant to sum to one.
const weightSlack = 1e-9

func (r *reader) heatmapWeights(w *Weights) error {
	err := r.fields(func(key string) (known bool, err error) {
		switch key {
		case "misalignment":
			w.Misalignment, err = r.float()
		case "artifact":
			w.Artifact, err = r.float()
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return err
	}
	if w.Misalignment < 0 || w.Artifact < 0 || w.Misalignment+w.Artifact > 1+weightSlack {
		return r.fail(ErrInvalidValue, "want weights of at least 0 with a sum of at most 1")
	}
	return nil
}

func (r *reader) returns() ([]Return, error) {
	asked := []Return{}
	err := r.elements(maxKeys, func(int) error {
		s, err := r.text(maxKeyBytes)
		if err != nil {
			return err
		}
		if !Return(s).Valid() {
			return r.fail(ErrInvalidValue, "%q is not a part of a response", s)
		}
		asked = append(asked, Return(s))
		return nil
	})
	return asked, err
}

// check holds the fields of a request against each other.
func (q *Request) check(limits Limits) error {
	n := len(q.Prompts)
	switch {
	case q.Prompts == nil:
		return ErrMissingField.With("prompts: required")
	case n == 0:
		return ErrInvalidValue.With("prompts: want at least one")
	case n > limits.Samples:
		return ErrTooManyImages.With("prompts: %d elements, limit %d", n, limits.Samples)
	case q.Images == nil && q.Latents == nil:
		return ErrMissingField.With("images: required unless latents are given")
	case q.Images != nil && q.Latents != nil:
		return ErrInvalidValue.With("latents: give images or latents, not both")
	case q.Images != nil && q.VAE != "":
		return ErrInvalidValue.With("vae: goes with latents, not with images")
	case q.Images != nil && len(q.Images) != n:
		return ErrImageCountMismatch.With("images: %d for %d prompts", len(q.Images), n)
	case q.Groups.Names != nil && len(q.Groups.Names) != n:
		return ErrImageCountMismatch.With("groups: %d names for %d prompts", len(q.Groups.Names), n)
	case q.Groups.Members != nil && len(q.Groups.Members) != n:
		return ErrImageCountMismatch.With("groups.members: %d for %d prompts", len(q.Groups.Members), n)
	}
	for i, m := range q.Groups.Members {
		if m >= q.Groups.Size {
			return ErrInvalidValue.With("groups.members[%d]: %d is not below size %d", i, m, q.Groups.Size)
		}
	}
	if q.Latents != nil {
		return q.checkLatents()
	}
	return nil
}

func (q *Request) checkLatents() error {
	t := q.Latents
	switch t.Type {
	case Float16, BFloat16, Float32:
	default:
		return ErrUnsupportedDType.With("latents: type %s: want float32, float16 or bfloat16", t.Type)
	}
	if rank := len(t.Shape); (rank != 3 && rank != 4) || len(t.Data) == 0 {
		return ErrInvalidValue.With("latents: shape %v: want (N,C,h,w) or packed (N,L,D)", t.Shape)
	}
	if t.Shape[0] != len(q.Prompts) {
		return ErrImageCountMismatch.With("latents: %d for %d prompts", t.Shape[0], len(q.Prompts))
	}
	if q.VAE == "" {
		return ErrMissingField.With("vae: required with latents")
	}
	return nil
}
