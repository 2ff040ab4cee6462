"""What `check` looks at: folders, the machine, the store. It asks, and changes nothing unless told to.

| file | responsibility |
|---|---|
| `finding` | one line of the answer |
| `folders` | rights, evidence of writers, watches: what a rule's folders allow |
| `machine` | ledger, disk, limits, versions |
| `stream_manager` | does Stream Manager answer, our streams in it, what its user may read |
| `reach` | what another user may read, by owners and permissions |
| `store` | credentials, bucket, clock, and a probe where that was asked for |
| `probe` | asks a store what it supports, and takes away what it made |
| `support` | what a store supports, and the settings that follow |
| `interruption` | Ctrl-C waits for the answer that is due |
"""
