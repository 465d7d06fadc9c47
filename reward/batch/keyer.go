package batch

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"

	"github.com/denseflow/densereward/reward"
)

// key identifies work: equal keys mean equal answers. Nothing else tells two
// pictures apart.
type key [sha256.Size]byte

// keyer makes keys. Pixels are hashed by AES-256-GMAC under a secret of this
// process: whoever does not know it can make two pictures of n bytes collide
// with a chance of n/16 in 2^128 and no better, and never sees a tag to learn it
// from. It takes 0.07 ms for a picture of 512x512, BLAKE3 0.24 ms, SHA-256 with
// the processor's own instructions 0.46 ms; raw pictures cost the server 0.4 ms
// in all.
type keyer struct {
	mac         cipher.AEAD
	fingerprint string
}

func newKeyer(fingerprint string) *keyer {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // crypto/rand never fails
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		panic("batch: " + err.Error()) // only the key's length can be wrong
	}
	mac, err := cipher.NewGCM(block)
	if err != nil {
		panic("batch: " + err.Error()) // only the block's size can be wrong
	}
	return &keyer{mac, fingerprint}
}

// key hashes all that an answer depends on: checkpoint, mode, prompt and
// pixels. Each part of unknown length is preceded by its length, so that no
// two different samples feed the hash the same bytes.
func (k *keyer) key(s *reward.Sample) key {
	var head []byte
	for _, part := range []string{k.fingerprint, string(s.Mode), s.Prompt} {
		head = binary.LittleEndian.AppendUint64(head, uint64(len(part)))
		head = append(head, part...)
	}
	head = binary.LittleEndian.AppendUint64(head, uint64(s.Image.Width))
	head = binary.LittleEndian.AppendUint64(head, uint64(s.Image.Height))
	var nonce [12]byte // one for all: tags stay here
	return sha256.Sum256(k.mac.Seal(head, nonce[:], nil, s.Image.Pix))
}
