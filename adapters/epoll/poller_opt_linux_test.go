//go:build poll_opt

package epoll

import "github.com/panjf2000/gnet/v2/pkg/netpoll"

func polling(p *netpoll.Poller, _ *netpoll.PollAttachment) error { return p.Polling() }
