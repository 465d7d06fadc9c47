package main

import (
	"bytes"
	"encoding/binary"
)

// pickle is {"images": [bytes, ...], "prompts": [str, ...]} as Python pickles it
// (protocol 3).
func pickle(images [][]byte, prompts []string) []byte {
	var b bytes.Buffer
	sized := func(opcode byte, data string) {
		b.WriteByte(opcode)
		b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(data))))
		b.WriteString(data)
	}
	const text, bin = 'X', 'B' // BINUNICODE, BINBYTES
	b.WriteString("\x80\x03}(")
	sized(text, "images")
	b.WriteString("](")
	for _, im := range images {
		sized(bin, string(im))
	}
	b.WriteByte('e')
	sized(text, "prompts")
	b.WriteString("](")
	for _, p := range prompts {
		sized(text, p)
	}
	b.WriteString("eu.")
	return b.Bytes()
}
