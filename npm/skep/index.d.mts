/** What `import` gives: see index.d.ts. The default export is all of it, as `require` gives it. */
export * from './index.js'
import * as skep from './index.js'
export default skep
