package reactor

// queue is a first-in first-out queue that reuses its memory.
type queue[T any] struct {
	items []T // length is 0 or a power of two
	head  int
	count int
}

func (q *queue[T]) len() int { return q.count }

func (q *queue[T]) push(item T) {
	if q.count == len(q.items) {
		q.grow()
	}
	q.items[(q.head+q.count)&(len(q.items)-1)] = item
	q.count++
}

// pop must not be called on an empty queue.
func (q *queue[T]) pop() T {
	var zero T
	item := q.items[q.head]
	q.items[q.head] = zero // no reference stays behind
	q.head = (q.head + 1) & (len(q.items) - 1)
	q.count--
	return item
}

func (q *queue[T]) grow() {
	items := make([]T, max(16, 2*len(q.items)))
	n := copy(items, q.items[q.head:])
	copy(items[n:], q.items[:q.head])
	q.items, q.head = items, 0
}
