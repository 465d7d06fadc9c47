package reward

// Check fails, naming what is wrong, for a sample that no evaluator can score:
// without an image, with one of no pixels or of more or fewer than its size says.
func (s *Sample) Check() error {
	switch m := s.Image; {
	case m == nil:
		return ErrInvalidValue.With("image: there is none")
	case m.Width < 1 || m.Height < 1 || len(m.Pix) != m.Width*m.Height*3:
		return ErrInvalidValue.With("image: %dx%d with %d bytes, want 3 a pixel and at least one", m.Width, m.Height, len(m.Pix))
	}
	return nil
}
