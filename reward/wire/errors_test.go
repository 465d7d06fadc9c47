package wire_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

func TestACauseStaysOnThisSide(t *testing.T) {
	cause := &fs.PathError{Op: "open", Path: "/secret/weights.safetensors", Err: fs.ErrNotExist}
	e := reward.ErrInternal.Wrap(cause)
	if !errors.Is(e, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
	if strings.Contains(e.Error(), "secret") || strings.Contains(string(wire.EncodeError(e)), "secret") {
		t.Error("the cause's text travels")
	}
}

func TestErrorsSurviveTheWire(t *testing.T) {
	got, err := wire.DecodeError(wire.EncodeError(reward.ErrOverloaded.With("come back")), 429)
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(got, reward.ErrOverloaded) || got.Message() != "come back" || got.Status() != 429 {
		t.Errorf("got %v, %d", got, got.Status())
	}
	later, err := wire.DecodeError([]byte("\x82\xa4code\xa9brand_new\xa7message\xa1m"), 418)
	if err != nil || later.Code() != "brand_new" || later.Status() != 418 {
		t.Errorf("an unknown code: got %v, %v", later, err)
	}
	if _, err := wire.DecodeError([]byte("<html>"), 502); err == nil {
		t.Error("a page of HTML passed for an error")
	}
}
