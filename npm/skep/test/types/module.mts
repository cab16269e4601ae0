// The same as an ES module: names, and the default export with all of them.
import skep, { counter } from 'skep'
import type { Counter } from 'skep'

const one: Counter = skep.counter('a')
export const sum: number = one.add() + counter('a').value
