//! Sizes that kernels and layers share.

use candle_core::{Result, Shape, bail};

/// A tensor seen as `outer x channels x inner`: statistics and factors belong to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Examples.
    pub outer: usize,
    /// Channels.
    pub channels: usize,
    /// Pixels.
    pub inner: usize,
}

impl Split {
    /// Dimension 1 is the channel.
    ///
    /// # Errors
    /// Fewer than two dimensions.
    pub fn of(shape: &Shape) -> Result<Self> {
        match shape.dims() {
            [outer, channels, rest @ ..] => {
                Ok(Self { outer: *outer, channels: *channels, inner: rest.iter().product() })
            }
            _ => bail!("shape {shape:?} has no channels"),
        }
    }

    /// All elements.
    pub fn elements(self) -> usize {
        self.outer * self.channels * self.inner
    }

    /// Elements a channel has.
    pub fn count(self) -> usize {
        self.outer * self.inner
    }

    /// Where the runs of a channel start.
    #[inline(always)]
    pub(crate) fn starts(self, channel: usize) -> impl Iterator<Item = usize> {
        (0..self.outer).map(move |o| (o * self.channels + channel) * self.inner)
    }
}

/// Planes of `h x w` that are pooled into `oh x ow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Images times channels.
    pub planes: usize,
    /// Rows of the input.
    pub h: usize,
    /// Columns of the input.
    pub w: usize,
    /// Rows of the output.
    pub oh: usize,
    /// Columns of the output.
    pub ow: usize,
    /// Side of a window.
    pub kernel: usize,
    /// Distance of windows.
    pub stride: usize,
    /// Border at each side.
    pub padding: usize,
}

impl Windows {
    /// Elements of the input.
    pub fn inputs(self) -> usize {
        self.planes * self.h * self.w
    }

    /// Elements of the output.
    pub fn outputs(self) -> usize {
        self.planes * self.oh * self.ow
    }

    /// Whether the windows are 2x2 tiles that touch and do not overlap.
    pub(crate) fn pairs(self) -> bool {
        (self.kernel, self.stride, self.padding) == (2, 2, 0)
    }
}

/// Which of the three bilinear operations of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pass {
    /// `F(x, w)`.
    Forward,
    /// `X(g, w)`, the gradient of `<g, F(x, w)>` for `x`.
    GradInput,
    /// `W(x, g)`, the gradient of `<g, F(x, w)>` for `w`.
    GradWeight,
}

/// Sizes of one convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Examples.
    pub n: usize,
    /// Input channels.
    pub channels: usize,
    /// Rows of the input.
    pub h: usize,
    /// Columns of the input.
    pub w: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Rows of a window.
    pub kh: usize,
    /// Columns of a window.
    pub kw: usize,
    /// Rows of the output.
    pub oh: usize,
    /// Columns of the output.
    pub ow: usize,
    /// Distance of neighbouring windows.
    pub stride: usize,
    /// Zeros added at each border.
    pub padding: usize,
}

impl Geometry {
    /// For `x (n, c, h, w)` and `w (o, c, kh, kw)`.
    ///
    /// # Errors
    /// Shapes that do not fit, a window larger than the padded input, stride 0.
    pub fn new(x: &Shape, w: &Shape, stride: usize, padding: usize) -> Result<Self> {
        let ((n, channels, h, wd), (out_channels, c2, kh, kw)) = (x.dims4()?, w.dims4()?);
        let (ph, pw) = (h + 2 * padding, wd + 2 * padding);
        if channels != c2 {
            bail!("conv2d: an input of {channels} channels for a weight of {c2}");
        }
        if stride == 0 || kh == 0 || kw == 0 || kh > ph || kw > pw {
            bail!("conv2d: windows {kh}x{kw}, stride {stride} do not fit a padded input {ph}x{pw}");
        }
        let (oh, ow) = ((ph - kh) / stride + 1, (pw - kw) / stride + 1);
        Ok(Self { n, channels, h, w: wd, out_channels, kh, kw, oh, ow, stride, padding })
    }

    /// `(n, c, h, w)`.
    pub fn x_shape(&self) -> Shape {
        (self.n, self.channels, self.h, self.w).into()
    }

    /// `(o, c, kh, kw)`.
    pub fn w_shape(&self) -> Shape {
        (self.out_channels, self.channels, self.kh, self.kw).into()
    }

    /// `(n, o, oh, ow)`.
    pub fn y_shape(&self) -> Shape {
        (self.n, self.out_channels, self.oh, self.ow).into()
    }
}
