//go:build !poll_opt

package epoll

import "github.com/panjf2000/gnet/v2/pkg/netpoll"

func polling(p *netpoll.Poller, a *netpoll.PollAttachment) error {
	return p.Polling(func(fd int, ev netpoll.IOEvent, flags netpoll.IOFlags) error {
		return a.Callback(fd, ev, flags)
	})
}
