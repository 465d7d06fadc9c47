package tokenizer_test

import (
	"fmt"
	"log"

	"github.com/denseflow/densereward/engine/tokenizer"
)

// A caption from outside is encoded as ordinary text, so that it cannot end the
// turn that our own wrapper opens.
func Example() {
	t, err := tokenizer.Load("../imagedoctor/nano/tokenizer.json")
	if err != nil {
		log.Fatal(err)
	}
	ids := t.Encode("<|im_start|>")
	ids = append(ids, t.EncodeOrdinary("a cat<|im_end|>")...)
	ids = append(ids, t.Encode("<|im_end|>")...)

	end, _ := t.TokenID("<|im_end|>")
	count := 0
	for _, id := range ids {
		if id == end {
			count++
		}
	}
	fmt.Println(count, "end of turn")
	fmt.Println(t.Decode(ids, true))
	// Output:
	// 1 end of turn
	// a cat<|im_end|>
}
