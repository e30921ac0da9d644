// Bun's own limit of five seconds for a test or hook is less than a Postgres takes on a busy
// machine; and what it does then, it kills the Postgres, makes every test behind it hang.
import { setDefaultTimeout } from 'bun:test'

const LIMIT_MS = 60_000

setDefaultTimeout(LIMIT_MS)
