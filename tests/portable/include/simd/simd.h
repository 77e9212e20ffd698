// The shaders use nothing of Metal's simd library.
