package evaluators

import (
	"context"

	"github.com/denseflow/densereward/engine/ocr"
	"github.com/denseflow/densereward/engine/ocr/ppocr"
	"github.com/denseflow/densereward/reward"
)

// textInImage is the reward for text that an image shows.
func textInImage() Kind {
	return Kind{
		Name: "ocr", Source: "folder of a text detector and recogniser in ONNX; none is the embedded PP-OCRv4", Everywhere: true,
		Open: openOCR,
	}
}

func openOCR(ctx context.Context, s Spec, at Place) (reward.Evaluator, error) {
	var o struct {
		ShortSide int `json:"short-side"`
	}
	if err := s.Options.Decode(&o); err != nil {
		return nil, err
	}
	models, note := ppocr.Models(), "PP-OCRv4, mobile"
	if s.Source != "" {
		dir, err := at.Path(ctx, s.Source)
		if err != nil {
			return nil, err
		}
		if models, err = ocr.ReadModels(dir); err != nil {
			return nil, err
		}
		note = ""
	}
	runtime, err := at.Runtime()
	if err != nil {
		return nil, err
	}
	reader, err := ocr.Open(models, ocr.Options{Runtime: runtime, Provider: at.Provider, Threads: at.Threads, ShortSide: o.ShortSide})
	if err != nil {
		return nil, err
	}
	return ocr.NewEvaluator(reader, note), nil
}
