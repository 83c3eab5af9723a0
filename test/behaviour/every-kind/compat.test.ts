import { behaviour } from '../behaviour.js';

behaviour('h2c-compat');
behaviour('h2-compat');
behaviour('h2-compat-http1');
