package client

import (
	"context"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// BestOf scores q and lists the samples of each group from the best to the
// worst, at most k, by their reward. Samples that failed are in none, and of
// equal rewards the earlier one is the better; groups come in the order in which
// they first appear. The response is that of Score.
func (c *Client) BestOf(ctx context.Context, q *wire.Request, k int) (best [][]int, p *wire.Response, err error) {
	p, err = c.Score(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	return reward.Best(p.Rewards, groupNames(q), k), p, nil
}

func groupNames(q *wire.Request) []string {
	names := make([]string, len(q.Prompts))
	for i := range names {
		names[i] = q.GroupName(i)
	}
	return names
}
