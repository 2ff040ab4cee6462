"""What `check` looks at: folders, the machine, the store. It asks, and changes nothing unless told to.

| file | responsibility |
|---|---|
| `finding` | one line of the answer |
| `folders` | rights, evidence of writers, watches: what a rule's folders allow |
| `machine` | ledger, disk, limits, versions |
| `store` | credentials, bucket, clock, and a probe where that was asked for |
| `probe` | asks a store what it supports, and takes away what it made |
| `support` | what a store supports, and the settings that follow |
| `interruption` | Ctrl-C waits for the answer that is due |
"""
