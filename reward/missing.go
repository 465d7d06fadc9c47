package reward

// MissingPolicy says what becomes of a sample whose answer lacks a score or a map.
type MissingPolicy string

// The policies.
const (
	// MissingZero counts what is missing as 0, as the reference of ImageDoctor does:
	// a score of 0, a map without flaws. What is missing is listed all the same.
	MissingZero MissingPolicy = "zero"
	// MissingError makes an ErrPartMissing of the sample.
	MissingError MissingPolicy = "error"
)

// Valid reports whether p is a policy of the protocol.
func (p MissingPolicy) Valid() bool { return p == MissingZero || p == MissingError }
