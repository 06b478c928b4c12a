//go:build !linux

package memfd

import "errors"

func memfdCreate(string, HugePageSize) (int, error) { return -1, errors.ErrUnsupported }
func ftruncate(int, int64) error                    { return errors.ErrUnsupported }
func closeFD(int) error                             { return errors.ErrUnsupported }
func isReadWrite(int) (bool, error)                 { return false, errors.ErrUnsupported }
func closeOnExec(int) error                         { return errors.ErrUnsupported }
func getSeals(int) (Seals, error)                   { return 0, errors.ErrUnsupported }
func addSeals(int, Seals) error                     { return errors.ErrUnsupported }
func fileSize(int) (int64, int64, error)            { return 0, 0, errors.ErrUnsupported }
func mapFile(int, int, bool) ([]byte, error)        { return nil, errors.ErrUnsupported }
func replaceByZeroes([]byte, bool) error            { return errors.ErrUnsupported }
func unmap([]byte) error                            { return errors.ErrUnsupported }
func lock([]byte) error                             { return errors.ErrUnsupported }
func free([]byte) error                             { return errors.ErrUnsupported }
func populate([]byte, bool) error                   { return errors.ErrUnsupported }
