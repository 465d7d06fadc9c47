package flowgrpo

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// NormSource draws standard normal numbers. A *rand.Rand is one.
type NormSource interface {
	NormFloat64() float64
}

var _ NormSource = (*rand.Rand)(nil)

// PromptSeed is the seed that the reference gives to the images of a prompt when
// they are to start from the same noise: the first four bytes of the prompt's
// SHA-256 plus base, modulo 2^31. The reference uses epoch*10000 + batch as base.
// A negative base counts from the upper end.
func PromptSeed(prompt string, base int64) uint64 {
	const modulus = 1 << 31
	digest := sha256.Sum256([]byte(prompt))
	seed := int64(binary.BigEndian.Uint32(digest[:4])) % modulus
	return uint64(((base%modulus+seed)%modulus + modulus) % modulus)
}

// PromptSource returns a PCG source of noise seeded with [PromptSeed]. The seed
// is the reference's; the numbers are not torch's.
func PromptSource(prompt string, base int64) *rand.Rand {
	return rand.New(rand.NewPCG(PromptSeed(prompt, base), 0))
}
