package ort

// Live is how many of the runtime's values the session holds.
func (s *Session) Live() int64 { return s.live.Load() }

// ParseSignature is parseSignature for the fuzzer.
func ParseSignature(model []byte) error {
	_, err := parseSignature(model)
	return err
}
