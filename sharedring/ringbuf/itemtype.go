package ringbuf

import (
	"fmt"
	"reflect"
)

// CheckType tells whether T may be an item: integers, floats, complex numbers,
// arrays of these and structs of these without padding, at least one byte large.
// Any bytes must be a valid value, because the other side may write any bytes.
// The error wraps [ErrItemType] and names the part that is not allowed.
func CheckType[T any]() error {
	t := reflect.TypeFor[T]()
	if err := checkType(t); err != nil {
		return err
	}
	if t.Size() == 0 {
		return fmt.Errorf("ringbuf: %s has no bytes: %w", t, ErrItemType)
	}
	return nil
}

func checkType(t reflect.Type) error {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return nil
	case reflect.Array:
		return checkType(t.Elem())
	case reflect.Struct:
		return checkStruct(t)
	case reflect.Bool:
		// A byte of 7 read as a bool would pass the compiler's bounds checks.
		return fmt.Errorf("ringbuf: %s is a bool, and only two of its 256 values are valid: %w", t, ErrItemType)
	default:
		return fmt.Errorf("ringbuf: %s is a %s, which means nothing in another process: %w", t, t.Kind(), ErrItemType)
	}
}

func checkStruct(t reflect.Type) error {
	end := uintptr(0)
	for i := range t.NumField() {
		f := t.Field(i)
		if err := checkType(f.Type); err != nil {
			return fmt.Errorf("ringbuf: field %s of %s: %w", f.Name, t, err)
		}
		if f.Offset != end {
			return paddingError(t, end, f.Offset)
		}
		end = f.Offset + f.Type.Size()
	}
	if end != t.Size() {
		return paddingError(t, end, t.Size())
	}
	return nil
}

// Padding is refused because a copy of an item would carry whatever private bytes
// lay there to the other process.
func paddingError(t reflect.Type, from, to uintptr) error {
	return fmt.Errorf("ringbuf: %s has padding in bytes %d to %d, declare a field there: %w", t, from, to-1, ErrItemType)
}
