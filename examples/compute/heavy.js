'use strict'
// What would freeze every request of a worker: the n-th Fibonacci number, the slow way.

function fibonacci (n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2)
}

module.exports = fibonacci
