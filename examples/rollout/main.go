// Rollout is a trainer's rollout in Go, from noise to a gradient: a toy policy
// draws images with Flow-GRPO's sampler, a server scores them, and the dense
// rewards become the gradient of the DenseFlow-GRPO loss by the policy's output.
// From the root of the module:
//
//	go run ./examples/rollout
//	go run ./examples/rollout -server http://host:8080
//
// Without -server a server with the demonstration checkpoint is started for the
// occasion.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"text/tabwriter"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/reward/wire"
)

func main() {
	address := flag.String("server", "", "address of a server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *address, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "rollout:", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to do
	}
}

// run does the rollout and prints what came of it.
func run(ctx context.Context, address string, out io.Writer) (err error) {
	if address == "" {
		own, stop, err := startServer(ctx)
		if err != nil {
			return err
		}
		defer func() { stop() }()
		address = own
	}
	c, err := client.New(address)
	if err != nil {
		return err
	}
	r := newRollout([]string{"a red circle on a plain background", "a red square on a plain background"}, 4)
	r.sample()
	response, err := c.Score(ctx, r.request())
	if err != nil {
		return err
	}
	for i, failed := range response.Errors {
		if failed != nil {
			return fmt.Errorf("image %d: %w", i, failed)
		}
	}
	diagnostics, gradient, err := r.train(response)
	if err != nil {
		return err
	}
	if err := printTable(out, r.prompts, response, gradient); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\nloss %+.4f, ratio %.4f, KL %.2g\n", diagnostics.Loss, diagnostics.RatioMean, diagnostics.KL)
	return err
}

// train is the loss of the paper's DenseFlow-GRPO on the step that is trained,
// and the size of its gradient by the model output for each image.
func (r *rollout) train(response *wire.Response) (flowgrpo.Diagnostics, []float64, error) {
	advantages, err := response.Advantages.Float64s()
	if err != nil {
		return flowgrpo.Diagnostics{}, nil, err
	}
	if len(advantages) != r.shape.MapLen() {
		return flowgrpo.Diagnostics{}, nil, errors.New("the server's grid is not that of the latents")
	}
	gradient := make([]float64, r.shape.Len())
	fused := flowgrpo.NewFusedLoss[float64](flowgrpo.DenseFlowGRPO(1e-4, 0.01), 0)
	diagnostics, err := fused.Evaluate(
		&flowgrpo.Batch[float64]{
			Shape: r.shape, Steps: r.steps,
			Sample: r.before, PrevSample: r.after, ModelOutput: r.output, RefModelOutput: r.output,
			OldLogProb: r.logProb, Credit: flowgrpo.Credit[float64]{AdvantageMap: advantages},
		},
		&flowgrpo.Results[float64]{GradModelOutput: gradient},
	)
	size := make([]float64, r.shape.Batch)
	each := r.shape.Len() / r.shape.Batch
	for i := range size {
		for _, g := range gradient[i*each : (i+1)*each] {
			size[i] = math.Hypot(size[i], g)
		}
	}
	return diagnostics, size, err
}

// printTable prints a line for each image.
func printTable(out io.Writer, prompts []string, p *wire.Response, gradient []float64) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	columns := []any{"alignment", "aesthetics", "plausibility", "overall", "reward", "|gradient|", " prompt"}
	if _, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", columns...); err != nil {
		return err
	}
	for i, prompt := range prompts {
		if _, err := fmt.Fprintf(t, "%.2f\t%.2f\t%.2f\t%.2f\t%.3f\t%.2g\t %s\n",
			p.Score("semantic_alignment")[i], p.Score("aesthetics")[i],
			p.Score("plausibility")[i], p.Score("overall")[i], p.Rewards[i], gradient[i], prompt); err != nil {
			return err
		}
	}
	return t.Flush()
}
