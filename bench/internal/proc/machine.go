package proc

// Machine describes where a figure comes from.
type Machine struct {
	Kernel string `json:"kernel"`
	Model  string `json:"processor"`
	CPUs   int    `json:"cpus"`
	Memory int64  `json:"memory_bytes"`
}
