// Goal: what the simulator has found in the real protocol stays named, and mended. The other
// stories, which planted bugs are found by, do no harm to the real code.
import { expect, test } from 'bun:test'
import { runJob } from './job.ts'
import { SCRIPTS } from './scripts.ts'

const TIMEOUT_MS = 120_000
const CLOCK = 'the wall clock of a waiting leader jumps'
const PROMOTED = 'followers start anew while a leader is promoted'

const NOTHING = 'a promotion comes to nothing'
const ENDED = 'a server ends while it is promoted'
const NO_COPY = 'a copy comes to nothing'
/** A leader changes its rule while a member is late: writes end by the new rule, the old one lacks. */
const BY_THE_NEW_RULE = 859

async function brokenBy(script: string, count: number) {
  const { outcomes } = await runJob({ from: 1, count, script })
  return outcomes.map(({ seed, violation }) => [seed, violation])
}

/** It was measured by the clock that advanced most; the lease that it waits for ends by that. */
test(
  'a new leader waits for its predecessor whatever its wall clock does',
  async () => expect(await brokenBy(CLOCK, 3)).toEqual([]),
  TIMEOUT_MS,
)

/** Who was pointed at a new leader and lost it was not pointed again while its promotion waited. */
test(
  'a promotion whose followers started anew ends in time',
  async () => expect(await brokenBy(PROMOTED, 8)).toEqual([]),
  TIMEOUT_MS,
)

/** All others have diverged from a leader that, without them, was never their source of a copy. */
test(
  'a leader whose followers have all diverged comes to serve',
  async () => expect(await brokenBy(NOTHING, 8)).toEqual([]),
  TIMEOUT_MS,
)

/** Its promotion waited a minute for writes to be taken, and its orchestrator for the promotion. */
test(
  'who was promoted and ended is not waited for',
  async () => expect(await brokenBy(ENDED, 8)).toEqual([]),
  TIMEOUT_MS,
)

/** The floor of a copy that was never made kept it out for ever, with all its data. */
test(
  'who is not copied after all is recruited with what it has',
  async () => expect(await brokenBy(NO_COPY, 8)).toEqual([]),
  TIMEOUT_MS,
)

/** Whoever recruits finds such a write by the proposal, which the quorums of both rules have. */
test(
  'a write that ends by a newer rule than it began by is safe',
  async () => {
    const { outcomes } = await runJob({ from: BY_THE_NEW_RULE, count: 1 })
    expect(outcomes).toEqual([])
  },
  TIMEOUT_MS,
)

test(
  'the stories of planted bugs break nothing without them',
  async () => {
    const known = [CLOCK, PROMOTED, NOTHING, ENDED, NO_COPY]
    const names = Object.keys(SCRIPTS).filter((name) => !known.includes(name))
    const broken = await Promise.all(names.map((name) => brokenBy(name, 3)))
    expect(broken.flat()).toEqual([])
  },
  TIMEOUT_MS,
)
